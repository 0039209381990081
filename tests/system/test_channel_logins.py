"""A channel that not everybody may read, on a real host: its password is in its own file, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

from agent.sandbox.installed import agent_root
from tests.channel.serve import Basic, Token
from tests.system.conda_site import BASE, Site, own_copy, served
from tests.system.conftest import Boot

SECRET = "cAnArY-of+a:channel"
FILE = "/etc/agent/secrets/conda"


@pytest.fixture
def site(boot: Boot, tmp_path: Path) -> Iterator[Site]:
    with served(boot(agent_root()), own_copy((), tmp_path / "channel")) as site:
        yield site


def declare(site: Site, login: str) -> None:
    spec = BASE.format(channel=site.channel, packages='["toy-app 1.*"]', kernel="false")
    site.write(f"{spec}  authentication:\n    {site.mirror.bind}: {login}\n" if login else spec)


@pytest.mark.parametrize(
    ("door", "login"),
    [
        pytest.param(Basic("reader", SECRET), f"{{username: reader, password: {{file: {FILE}}}}}", id="password"),
        pytest.param(Token(SECRET), f"{{token: {{file: {FILE}}}, scheme: conda}}", id="token"),
    ],
)
def test_the_way_into_a_channel_is_known_to_root_alone(site: Site, door: Basic | Token, login: str) -> None:
    run = site.machine.run
    run(f"mkdir -p -m 700 /etc/agent/secrets; umask 077; cat >{FILE}", stdin=f"{SECRET}\n")
    site.mirror.door = door
    declare(site, "")
    assert "401" in site.apply(status=3)

    declare(site, login)
    site.apply()

    assert site.versions()["toy-app"] == "1.0"
    site.assert_as_wanted()
    found = run(
        f"grep -rlF {SECRET} / --exclude-dir=proc --exclude-dir=sys --exclude-dir=dev --exclude-dir=usr", check=False
    ).stdout
    assert found == f"{FILE}\n"
    assert SECRET not in run("journalctl --no-pager --output=export").stdout
    for verb in (["agent", "plan"], ["agent", "status", "--json"], ["agent", "env", "show", "analysis", "--json"]):
        assert SECRET not in run(verb).stdout

    site.mirror.faults["toy-big-1.0-0.tar.bz2"] = HTTPStatus.NOT_FOUND
    spec = run("cat /etc/agent/spec.yaml").stdout
    site.write(spec.replace('"toy-app 1.*"', '"toy-app 1.*", toy-big'))
    assert SECRET not in site.apply(status=3)
