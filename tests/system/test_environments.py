"""Conda environments and kernels on a real host: made as their owner, seen with the tools a person uses, repaired, removed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.sandbox.installed import agent_root
from tests.channel.publish import publish
from tests.channel.serve import Slow
from tests.channel.toys import later_toys
from tests.system.conda_site import PREFIX, Site, own_copy, served
from tests.system.conftest import Boot

KERNEL = "/etc/agent/jupyter/share/kernels/analysis/kernel.json"


@pytest.fixture
def site(boot: Boot, tmp_path: Path) -> Iterator[Site]:
    with served(boot(agent_root()), own_copy((), tmp_path / "channel")) as site:
        yield site


def test_an_environment_lives_from_the_spec_to_its_removal(site: Site) -> None:
    run = site.machine.run
    site.declare("toy-app 1.*")
    assert "environment:analysis" in site.pending()
    site.apply()

    first = site.build()
    assert run(f"{PREFIX}/bin/toy-app").stdout == f"toy-app 1.0 in {first}\n"
    strangers = run("find /opt/conda -mindepth 2 ! -user nb | head").stdout
    assert strangers == "", "all of it belongs to its owner"
    site.assert_as_wanted()

    state = "find /opt/conda -printf '%p %l %i %T@ %C@\\n' | sort | sha256sum"
    before, asked = run(state).stdout, len(site.mirror.requests)
    site.apply()
    assert run(state).stdout == before
    assert len(site.mirror.requests) == asked, "what is right already asks no server"

    run(f"rm {PREFIX}/conda-meta/toy-lib-*.json")
    assert "toy-lib" in site.pending()
    site.apply()
    assert site.versions() == {"toy-app": "1.0", "toy-lib": "1.1"}
    assert site.build() != first, "what is repaired is a new build, too"
    site.assert_as_wanted()

    site.declare("toy-app 2.*", "toy-many")
    site.apply()
    assert site.versions() == {"toy-app": "2.0", "toy-lib": "2.0", "toy-many": "1.0"}

    site.write("user:\n  name: nb\n")
    site.apply()
    assert run("test -e /opt/conda", check=False).status == 1
    site.assert_as_wanted()


def test_a_kernel_runs_in_its_environment_and_comes_back_when_it_is_deleted(site: Site) -> None:
    run = site.machine.run
    site.declare("python 3.11.*", "ipykernel", "toy-activate", "toy-rude", kernel=True)
    site.apply()

    spec = json.loads(run(f"cat {KERNEL}").stdout)
    assert PREFIX in spec["argv"]
    seen = site.in_kernel(
        "import os, sys; print(sys.prefix, *map(os.environ.get, ('TOY_HOME', 'TOY_VAR', 'TOY_RUDE')))"
    )
    assert seen == f"{site.build()} {site.build()}/share/toy from-env-vars.d yes"

    run(f"rm {KERNEL}")
    assert "kernelspec:analysis" in site.pending()
    site.apply()
    assert json.loads(run(f"cat {KERNEL}").stdout) == spec

    run(f"chmod 0666 {KERNEL}")
    assert "kernelspec:analysis" in site.pending()
    site.apply()
    assert run(f"stat -c '%a %U' {KERNEL}").stdout == "644 root\n"

    site.declare("python 3.11.*", "ipykernel")
    site.apply()
    assert run(f"test -e {KERNEL}", check=False).status == 1


def test_a_build_whose_kernel_does_not_start_is_not_used(site: Site) -> None:
    site.declare("python 3.11.*", "ipykernel", kernel=True)
    site.apply()
    build = site.build()

    site.declare("python 3.11.*", "ipykernel", "toy-bad-kernel", kernel=True)
    said = site.apply(status=3)

    assert "ImportError: libtoy.so.1: cannot open shared object file" in said
    assert site.build() == build
    assert site.builds() == {build}
    assert site.in_kernel("import sys; print(sys.prefix)") == build


def test_a_disk_without_room_is_told_with_figures_before_anything_is_fetched(site: Site) -> None:
    run = site.machine.run
    run("mkdir /opt/conda; mount -t tmpfs -o size=200m,mode=0755 conda /opt/conda")
    site.declare("toy-app")
    site.apply()
    build = site.build()
    run("head -c 130M /dev/zero >/opt/conda/filler")
    site.declare("toy-app", "toy-big")

    said = site.apply(status=3)

    assert "not enough room" in said
    assert "free on /opt/conda" in said
    assert "agent env clean" in said
    assert site.mirror.asked("toy-big-1.0-0.tar.bz2") == []
    assert run(f"{PREFIX}/bin/toy-app").stdout == f"toy-app 2.0 in {build}\n"
    run("rm /opt/conda/filler")
    site.apply()
    assert "toy-big" in site.versions()


def test_a_disk_that_runs_full_costs_nobody_a_working_environment(site: Site) -> None:
    run = site.machine.run
    run("mkdir /opt/conda; mount -t tmpfs -o size=200m,mode=0755 conda /opt/conda")
    site.declare("toy-app")
    site.apply()
    build = site.build()
    site.mirror.faults["toy-big-1.0-0.tar.bz2"] = Slow(0.003)
    site.declare("toy-app", "toy-big")
    run(
        "systemd-run --quiet --collect --unit=filler sh -c "
        '\'until find /opt/conda/pkgs -name "*toy-big*" -o -name ".*toy-big*" | grep -q .; do :; done; cat /dev/zero >/opt/conda/filler\''
    )

    said = site.apply(status=3)

    assert "No space left on device" in said
    assert "make room" in said
    assert site.builds() == {build}
    assert run(f"{PREFIX}/bin/toy-app").stdout == f"toy-app 2.0 in {build}\n"
    run("systemctl stop filler || true; rm /opt/conda/filler")
    site.mirror.faults.clear()
    site.apply()
    assert "toy-big" in site.versions()


def test_newer_versions_come_when_they_are_asked_for_and_go_again(site: Site) -> None:
    run = site.machine.run
    site.declare("toy-app")
    site.apply()
    old = site.build()
    publish(site.mirror.directory, later_toys())
    site.apply()
    assert site.versions()["toy-app"] == "2.0", "a new release alone changes nothing"

    run(["agent", "env", "update", "analysis", "--yes"])
    new = site.build()
    assert site.versions() == {"toy-app": "2.1", "toy-lib": "2.1"}
    site.assert_as_wanted()

    run(["agent", "env", "rollback", "analysis"])
    assert site.build() == old
    site.apply()
    assert site.build() == old, "what a person went back to stays"
    run(["agent", "env", "update", "analysis", "--yes"])
    assert site.versions()["toy-app"] == "2.1"
    assert site.build().startswith(new.partition(".")[0])
