"""Whatever goes wrong while an environment is changed: the one in force works, a way out is named, the next pass makes up for it, no secret gets out."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from tests.channel.serve import Altered, Basic, Bearer, Door, Fault, Mute, Slow, Token, Truncated
from tests.system.conda_site import BASE, BUILDS, PREFIX, ROOT, SPEC, Site, booted

INDEX = ("repodata.json", "repodata.json.zst", "repodata.json.bz2", "repodata_shards.msgpack.zst")
NEEDED = "toy-lib-2.0-0.tar.bz2"
"""What an update from toy-app 1 to 2 has to fetch."""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with booted(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture
def site(host: Site) -> Iterator[Site]:
    """With toy-app 1 in force, and nothing else in the cache."""
    host.machine.run(f"rm -rf {ROOT}/pkgs/* /etc/agent/spec.lock")
    host.declare("toy-app 1.*")
    host.apply()
    host.agent("env clean", "--keep", "0")
    yield host
    host.mirror.start()
    host.mirror.faults.clear()
    host.mirror.door = None


def works(site: Site, version: str = "1.0") -> bool:
    """Whether the program of the build in force is there and runs."""
    said = site.machine.run(["runuser", "-u", "nb", "--", f"{PREFIX}/bin/toy-app"]).stdout
    return said == f"toy-app {version} in {site.build()}\n"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Altered(), ("hash mismatch", "so it was not used; name another one under conda.mirrors")),
        (Truncated(50), ("end of file before message length reached",)),
        (HTTPStatus.NOT_FOUND, ("404 Not Found", "see conda.channels and conda.mirrors")),
        (HTTPStatus.SERVICE_UNAVAILABLE, ("503 Service Unavailable",)),
    ],
    ids=["another hash", "cut off", "not there", "out of order"],
)
def test_a_package_that_cannot_be_had_costs_nobody_an_environment(
    site: Site, fault: Fault, said: tuple[str, ...]
) -> None:
    before = site.build()
    site.mirror.faults[NEEDED] = fault
    site.declare("toy-app 2.*")

    told = site.apply(status=3)

    assert all(words in told for words in (NEEDED, *said)), told
    assert (site.build(), site.builds()) == (before, {before})
    assert works(site)
    site.mirror.faults.clear()
    site.apply()
    assert works(site, "2.0")


def test_what_cannot_be_met_is_named_with_its_place_in_the_spec(site: Site) -> None:
    before = site.build()
    site.declare("toy-app 2.*", "toy-many", "toy-old")
    number, line = next(
        (number, line) for number, line in enumerate(site.machine.run(f"cat {SPEC}").stdout.splitlines(), 1) if "toy-old" in line
    )  # fmt: skip

    told = site.apply(status=3)

    assert "no set of packages meets the request" in told
    for culprit in ("toy-app 2.*", "toy-old"):
        assert f"{SPEC}:{number}:{line.index(json.dumps(culprit)) + 1} ({culprit})" in told
    assert "(toy-many)" not in told
    assert site.build() == before
    assert works(site)


def test_offline_the_cache_is_enough(site: Site) -> None:
    site.declare("toy-app 2.*")
    site.apply()
    site.agent("env clean", "--keep", "0")
    before = site.build()
    site.machine.run(f"rm {before}/conda-meta/toy-lib-*.json")
    text = BASE.format(channel=site.channel, packages='["toy-app 2.*"]', kernel="false")
    site.write(text.replace("conda:\n", "conda:\n  offline: true\n"))
    asked = len(site.mirror.requests)

    site.apply()

    assert len(site.mirror.requests) == asked, "no channel is asked"
    assert site.build() != before
    assert works(site, "2.0")
    site.write(text.replace("conda:\n", "conda:\n  offline: true\n").replace('"]', '", "toy-big"]'))
    told = site.apply(status=3)
    assert "conda.offline is set" in told
    assert "toy-big-1.0-0.tar.bz2" in told
    assert len(site.mirror.requests) == asked
    assert works(site, "2.0")


def test_a_channel_that_never_answers_is_not_waited_for(site: Site) -> None:
    before = site.build()
    site.mirror.faults |= dict.fromkeys(INDEX, Mute())
    site.machine.run(f"rm -rf {ROOT}/pkgs/*")
    text = BASE.format(channel=site.channel, packages='["toy-app 2.*"]', kernel="false")
    site.write(text.replace("conda:\n", "conda:\n  timeout: 2s\n  retries: 1\n"))
    begun = time.monotonic()

    told = site.apply(status=3)

    assert time.monotonic() - begun < 60
    assert "timed out" in told
    assert site.channel in told
    assert site.builds() == {before}
    assert works(site)


@pytest.mark.parametrize("gone", [True, False], ids=["the whole server", "only the index"])
def test_an_index_that_cannot_be_reached_is_known_from_earlier(site: Site, gone: bool) -> None:
    site.declare("toy-app 2.*", "toy-big")
    site.apply()
    site.agent("env clean", "--keep", "0")
    if gone:
        site.mirror.stop()
    site.mirror.faults |= dict.fromkeys(INDEX, HTTPStatus.SERVICE_UNAVAILABLE)
    fetched = [] if gone else ["toy-many"]
    site.declare("toy-app 2.*", *fetched)

    site.apply()

    assert works(site, "2.0")
    assert site.versions().keys() == {"toy-app", "toy-lib", *fetched}


SECRET = "correct-horse-battery-staple"
DOORS: dict[str, tuple[Door, dict[str, str]]] = {
    "basic": (Basic("reader", SECRET), {"username": "reader", "password": ""}),
    "bearer": (Bearer(SECRET), {"token": ""}),
    "conda token": (Token(SECRET), {"token": "", "scheme": "conda"}),
}
# Looks, while workers live, for a secret (standard input) in what the kernel shows of every program, and in files that others may read.
WATCH = """
import json, os, sys, time
secret, found, workers = sys.stdin.readline().strip().encode(), [], set()
tops = ("/opt/conda", "/tmp", "/var/tmp", "/var/lib/agent", "/run", "/home", "/dev/shm")
give_up = time.monotonic() + 60
print("looking", flush=True)
while time.monotonic() < give_up:
    alive = False
    for process in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{process}/cmdline", "rb") as one, open(f"/proc/{process}/environ", "rb") as other:
                command, surroundings = one.read(), other.read()
        except OSError:
            continue
        if b"agent.workers" in command and b"systemd-run" not in command:
            alive = True
            workers.add(process)
        if secret in command + surroundings:
            found.append(command.decode(errors="replace"))
    for path in (f"{directory}/{name}" for top in tops for directory, _, names in os.walk(top) for name in names):
        try:
            with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb") as file:
                if os.fstat(file.fileno()).st_mode & 0o077 and secret in file.read(1 << 20):
                    found.append(path)
        except OSError:
            pass
    if workers and not alive:
        break
print(json.dumps([len(workers), sorted(set(found))]))
"""
KEPT = "/etc/agent/secrets/channel"
PLACES = "/etc /home /opt/conda /root /run /tmp /var/cache /var/lib /var/log /var/tmp"


def changed(door: Door, secret: str) -> Door:
    """The same door with another secret."""
    return Basic(door.username, secret) if isinstance(door, Basic) else type(door)(secret)


@pytest.mark.parametrize("way", DOORS)
def test_a_channel_behind_a_door_is_read_and_its_secret_is_nowhere(site: Site, way: str) -> None:
    machine = site.machine
    site.mirror.door, login = DOORS[way]
    site.mirror.faults[NEEDED] = Slow(0.3)  # so that there is something to look at
    machine.run(f"rm -rf {ROOT}/pkgs/*")
    spec = BASE.format(channel=site.channel, packages='["toy-app 2.*"]', kernel="false")
    logins = json.dumps({machine.gateway: {name: {"file": KEPT} if name in ("password", "token") else text for name, text in login.items()}})  # fmt: skip
    site.write(spec.replace("conda:\n", f"conda:\n  authentication: {logins}\n"))
    machine.run(f"umask 077; mkdir -p /etc/agent/secrets; cat >{KEPT}", stdin="another-one")

    refused = site.apply(status=3)

    assert "401 Unauthorized" in refused
    assert "see whether its secret is right" in refused
    assert works(site)
    machine.run(f"cat >{KEPT}", stdin=SECRET)
    with subprocess.Popen(machine.argv(["python3", "-c", WATCH]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as watcher:  # fmt: skip
        assert watcher.stdin is not None
        assert watcher.stdout is not None
        watcher.stdin.write(f"{SECRET}\n")
        watcher.stdin.flush()
        assert watcher.stdout.readline() == "looking\n"
        site.apply()
        workers, found = json.loads(watcher.stdout.read())

    assert works(site, "2.0")
    assert workers
    assert found == []
    machine.run("journalctl --sync")
    assert machine.run(f"journalctl --output=export | grep -aF {SECRET}", check=False).stdout == ""
    assert machine.run(f"grep -raFl --devices=skip {SECRET} {PLACES}", check=False).stdout == f"{KEPT}\n"
    site.mirror.door = changed(site.mirror.door, "a-new-one")
    machine.run(f"cat >{KEPT}", stdin="a-new-one")
    machine.run(f"rm -r {ROOT}/pkgs/* {PREFIX}/conda-meta/toy-lib-*.json")
    site.apply()
    assert works(site, "2.0"), "what was made by the old secret is repaired by the new one"


@pytest.fixture
def mounted(host: Site) -> Iterator[Site]:
    """What it mounts at the directory of builds goes again."""
    yield host
    host.machine.run(f"umount {BUILDS} && rmdir {BUILDS} || true")


def test_a_disk_for_builds_alone_is_looked_at_and_named(mounted: Site) -> None:
    site, run = mounted, mounted.machine.run
    site.write("user: {name: nb}\n")
    site.apply()
    run(f"mkdir -p {BUILDS}; mount -t tmpfs -o size=90m,mode=0755 builds {BUILDS}; chown -R nb: {ROOT}")
    site.declare("toy-app 1.*")
    site.apply()
    before = site.build()
    assert works(site)
    run(f"head -c 20M /dev/zero >{BUILDS}/filler")
    site.declare("toy-app 2.*")

    told = site.apply(status=3)

    assert re.search(
        r"about \d+ MB are needed and 67 MB stay in reserve, \d+ MB are free on /opt/conda/builds/analysis", told
    ), told
    assert "agent env clean" in told
    assert site.builds() == {before}
    assert works(site)
    run(f"rm {BUILDS}/filler")
    site.apply()
    assert works(site, "2.0")
    site.write("user: {name: nb}\n")
    site.apply()


def test_a_worker_without_enough_memory_is_told_so(site: Site) -> None:
    run = site.machine.run
    before = site.build()
    site.declare("toy-app 2.*")
    limit = "/run/systemd/system/run-.service.d/memory.conf"
    run(
        f"mkdir -p $(dirname {limit}); printf '[Service]\\nMemoryMax=12M\\nMemorySwapMax=0\\n' >{limit}; systemctl daemon-reload"
    )
    try:
        told = site.machine.run(["agent", "apply"], check=False)
    finally:
        run(f"rm {limit}; systemctl daemon-reload")
    assert told.status == 3
    assert "memory" in told.stdout
    assert site.builds() == {before}
    assert works(site)
    site.apply()
    assert works(site, "2.0")
