"""A lock file makes the same environments on every host, byte for byte, and asks no index; an update rewrites it, and the other hosts follow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from http import HTTPStatus

import pytest

from agent.sandbox import Machine
from agent.sandbox.installed import agent_root
from tests.channel.publish import publish
from tests.channel.serve import Altered
from tests.channel.toys import later_toys
from tests.system.conda_site import ROOT, SPEC, Site, own_copy, served
from tests.system.wheelhouse import stock, wheel

LOCK = "/etc/agent/spec.lock"
OF_ALL = """
user:
  name: nb
conda:
  environments:
    analysis:
      packages: [python 3.11.*, ipykernel, pip, toy-app, toy-module, toy-prefix, toy-activate]
      pip: [spam, eggs<2]
      variables: {SEASON: winter}
      activation: |
        export TOY_LATE="$SEASON"
      kernel: Python 3.11
    tools:
      packages: [toy-app, toy-many]
"""
WHEELS = (wheel("spam", "1.0", "ham"), wheel("ham", "1.5"), wheel("eggs", "1.1"))
INDEX = ("repodata.json", "repodata.json.zst", "repodata.json.bz2", "repodata_shards.msgpack.zst")

# Everything below a directory: type, access, what a link says, what a file contains; and of Python's sources their times, which are in byte-code.
LISTED = r"""
import hashlib, json, os, stat, sys
found = {}
for top in sys.argv[1:]:
    for directory, below, names in os.walk(top):
        for name in (*below, *names):
            path = f"{directory}/{name}"
            status = os.lstat(path)
            content = ""
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                content = hashlib.sha256(open(path, "rb").read()).hexdigest()
            found[path] = [stat.filemode(status.st_mode), content, str(int(status.st_mtime)) if name.endswith(".py") else ""]
json.dump(found, sys.stdout)
"""
OF_ITS_TIME = (f"{ROOT}/builds/%s/lock", f"{ROOT}/builds/%s/%s.json")
"""Empty, for the worker's flock; and the manifest, which says when its build was made. All else in a directory of builds is compared."""

Tree = dict[str, list[str]]


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Site]]:
    """A host on which environments are solved and locked, and a fresh one whose channel has no index."""
    channel = own_copy((), tmp_path_factory.mktemp("sites") / "channel")
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(served(stack.enter_context(Machine(agent_root())), channel)) for _ in range(2)
        )
        for site in (first, second):
            site.machine.run("install -d -m 700 /etc/agent/spec.d")
            drop_in = {"conda": {"mirrors": {"conda-forge": [site.channel]}}}
            site.machine.run("umask 077; cat >/etc/agent/spec.d/90-mirror.yaml", stdin=json.dumps(drop_in))
            stock(site.machine, *WHEELS)
        second.mirror.faults |= dict.fromkeys(INDEX, HTTPStatus.NOT_FOUND)
        first.write(OF_ALL.replace(", toy-prefix", "").replace("spam, ", ""))
        first.apply()
        first.write(OF_ALL)
        first.apply()  # what is locked was not made in one go
        first.agent("env lock")
        yield first, second


def hand_over(first: Site, second: Site) -> None:
    """The spec and its lock file, as a person copies them."""
    for path in (SPEC, LOCK):
        second.machine.run(f"cat >{path}", stdin=first.machine.run(f"cat {path}").stdout)


def tree(site: Site, name: str) -> Tree:
    """The environment's build in force with what is written beside it, and the link to it."""
    build = site.build(name).rpartition("/")[2]
    directory = f"{ROOT}/builds/{name}"
    words = ["python3", "-c", LISTED, directory]
    found: Tree = json.loads(site.machine.run(words).stdout)
    left_out = {each.replace("%s", name, 1).replace("%s", build) for each in OF_ITS_TIME}
    mine = {
        path: said
        for path, said in found.items()
        if path not in left_out and path.removeprefix(f"{directory}/").startswith(build)
    }
    assert len(mine) > 10
    return {**mine, f"{ROOT}/envs/{name}": ["", site.build(name), ""]}


def differing(one: Tree, other: Tree) -> list[object]:
    return [(path, one.get(path), other.get(path)) for path in sorted(one.keys() | other.keys()) if one.get(path) != other.get(path)]  # fmt: skip


def test_what_is_not_what_was_locked_is_not_installed(sites: tuple[Site, Site]) -> None:
    first, second = sites
    hand_over(first, second)
    second.mirror.faults["toy-many-1.0-0.tar.bz2"] = Altered()
    stock(second.machine, wheel("ham", "1.5", "another-one"))

    said = second.apply(status=3)

    assert "toy-many-1.0-0.tar.bz2" in said
    assert "hash mismatch" in said
    assert "another hash than the one that was chosen" in said
    assert "ham==1.5" in said
    for name in ("analysis", "tools"):
        assert second.machine.run(f"ls {ROOT}/envs/{name}", check=False).status != 0
    del second.mirror.faults["toy-many-1.0-0.tar.bz2"]
    stock(second.machine, *WHEELS)


def test_what_is_locked_is_byte_for_byte_the_same_on_another_host(sites: tuple[Site, Site]) -> None:
    first, second = sites
    first.assert_as_wanted()
    hand_over(first, second)

    second.apply()

    second.assert_as_wanted()
    assert second.agent("env lock", "--check")["entries"][0]["new"] is False
    assert not [path for path in second.mirror.asked() if "repodata" in path], "nothing is solved"
    for name in ("analysis", "tools"):
        here = tree(first, name)
        assert differing(here, tree(second, name)) == []
    assert any(path.endswith("/site-packages/__pycache__/spam.cpython-311.pyc") for path in tree(first, "analysis"))
    said = second.machine.run(["runuser", "-u", "nb", f"{ROOT}/envs/analysis/bin/spam"]).stdout
    assert said == "spam 1.0\n"


def test_a_spec_that_changed_after_it_was_locked_is_refused(sites: tuple[Site, Site]) -> None:
    _, second = sites
    hand_over(*sites)
    before = second.build()
    second.write(OF_ALL.replace("toy-app, toy-module", "toy-app, toy-big, toy-module"))

    done = second.machine.run(["agent", "apply", "--yes"], check=False)

    assert done.status == 65
    assert f"{SPEC}:6:5" in done.stderr
    assert "has changed since /etc/agent/spec.lock was written: packages (toy-big is new)" in done.stderr
    assert "agent env update analysis" in done.stderr
    assert second.build() == before


def test_an_update_is_shown_rewrites_the_lock_and_is_followed(sites: tuple[Site, Site]) -> None:
    first, second = sites
    hand_over(first, second)
    second.apply()
    before = {name: (first.build(name), second.build(name)) for name in ("analysis", "tools")}
    publish(first.mirror.directory, later_toys())
    for site in sites:
        stock(site.machine, wheel("spam", "1.1", "ham"), wheel("eggs", "2.0"))
    first.apply()
    assert first.build() == before["analysis"][0], "what is locked stays what it is"

    shown = first.machine.run(["agent", "env", "update", "--dry-run"]).stdout

    for line in ("toy-app 2.0 -> 2.1", "toy-lib 2.0 -> 2.1", "toy-module 1.0 -> 2.0", "spam 1.0 -> 1.1"):
        assert f"~ {line}" in shown
    assert "eggs" not in shown
    old = first.machine.run(f"cat {LOCK}").stdout
    first.machine.unit_run(["agent", "env", "update", "--yes"])
    assert first.machine.run(f"cat {LOCK}").stdout != old
    first.assert_as_wanted()
    asked = len(second.mirror.requests)
    hand_over(first, second)
    assert "environment:analysis" in second.pending()
    second.apply()
    second.assert_as_wanted()
    assert not [each.path for each in second.mirror.requests[asked:] if "repodata" in each.path]
    for name in ("analysis", "tools"):
        assert first.build(name) != before[name][0]
        assert differing(tree(first, name), tree(second, name)) == []
    assert second.machine.run(f"ls {before['tools'][1]}/bin").stdout == "toy-app\n", "what was in force before is kept"
