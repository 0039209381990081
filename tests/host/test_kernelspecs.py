"""Every kernel that Jupyter would list is seen, those that cannot start are told, and nothing that the account plants is followed or believed."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from agent.host import kernelspecs as module
from agent.host.builds import Place
from agent.host.kernelspecs import Registered, kernelspecs
from agent.kinds.environment import Environment
from agent.kinds.kernelspec import Kernelspec
from agent.resource import Ref, Resource


@dataclass
class Account:
    home: str
    uid: int


class Host:
    """One account, and environments that are directories."""

    def __init__(self, home: Path, uid: int) -> None:
        self.account = Account(str(home), uid)
        self.accounts = self.environments = self

    def user(self, name: str) -> Account | None:
        return self.account if name == "nb" else None

    def build(self, place: Place) -> str | None:
        return place.in_force()


@dataclass
class Site:
    top: Path
    uid: int

    @property
    def own(self) -> Path:
        return self.top / "own"

    @property
    def home(self) -> Path:
        return self.top / "home/.local/share/jupyter/kernels"

    @property
    def environment(self) -> Path:
        return self.top / "builds/analysis/0123456789ab"

    def register(self, directory: Path, name: str, *argv: str, title: str = "Title") -> Path:
        found = directory / name
        found.mkdir(parents=True)
        (found / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": title}))
        return found

    def found(self) -> list[Registered]:
        resources: list[Resource] = [
            Kernelspec(
                "analysis", str(self.own), "Analysis", f"{self.top}/envs/analysis", ("{prefix}/bin/python",), "nb"
            ),
            Environment("analysis", str(self.top), "nb", (), ()),
            Environment("unmade", str(self.top), "nb", (), ()),
        ]
        wanted: dict[Ref, Resource] = {each.ref: each for each in resources}
        return kernelspecs(cast(Any, Host(self.top / "home", self.uid)), wanted)

    def only(self) -> Registered:
        (found,) = self.found()
        return found


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(module, "OWN", str(tmp_path / "own"))
    monkeypatch.setattr(module, "SHARED", (str(tmp_path / "shared"),))
    site = Site(tmp_path, os.getuid())
    (site.environment / "bin").mkdir(parents=True)
    (site.environment / "bin/python").write_text("")
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs/analysis").symlink_to("../builds/analysis/0123456789ab")
    (tmp_path / "in-environment").write_text("")
    return site


def test_each_place_is_looked_at_and_what_the_spec_declares_comes_first(site: Site) -> None:
    site.register(site.environment / "share/jupyter/kernels", "python3", "python", "-m", "x", title="Python 3")
    site.register(site.home, "mine", "/bin/sh", title="Mine")
    site.register(site.top / "shared", "old", "sh", title="Old")
    site.register(site.own, "left", "/bin/sh", title="Left")
    site.register(site.own, "analysis", "/bin/sh", title="Analysis")

    seen = [(each.name, each.display_name, each.state, each.why) for each in site.found()]

    assert seen == [
        ("analysis", "Analysis", "declared", ""),
        ("python3", "Python 3", "foreign", "brought by packages of the environment analysis"),
        ("mine", "Mine", "foreign", "not in the spec"),
        ("left", "Left", "foreign", "not in the spec"),
        ("old", "Old", "foreign", "not in the spec"),
    ]


def test_a_kernel_whose_program_has_gone_is_dead(site: Site) -> None:
    link = str(site.top / "envs/analysis")
    launched = [str(site.top / "in-environment"), link, f"{link}/bin/python"]
    site.register(site.own, "analysis", *launched)
    site.register(site.home, "bare", "no-such-program")
    site.register(site.home, "gone", "/nonexistent/bin/python")
    assert [each.state for each in site.found()] == ["declared", "dead", "dead"]

    (site.environment / "bin/python").unlink()

    assert [(each.name, each.state, each.why) for each in site.found()] == [
        ("bare", "dead", "its program no-such-program is not there"),
        ("gone", "dead", "its program /nonexistent/bin/python is not there"),
        ("analysis", "dead", f"its program {link}/bin/python is not there"),
    ]


def test_a_kernel_that_is_hidden_by_one_of_the_spec_says_so(site: Site) -> None:
    site.register(site.home, "Analysis", "/bin/sh")

    assert site.only().why == "Jupyter lists the spec's kernel of that name instead"


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "[" * 60000,
        '{"argv": 1}',
        '{"argv": []}',
        '{"argv": [1]}',
        '{"argv": ["a\\u0000b"]}',
        '{"argv": ["\\ud800/x"]}',
        "\x00\x01",
        '{"argv": ["/bin/sh"], "display_name": ' + "9" * 5000 + "}",
    ],
    ids=["torn", "list", "deep", "number", "empty", "numbers", "nul", "surrogate", "binary", "huge-number"],
)
def test_a_hostile_kernelspec_is_dead_and_harms_nobody(site: Site, content: str) -> None:
    (site.register(site.home, "bad", "x") / "kernel.json").write_text(content)

    assert site.only().state == "dead"


def test_what_the_account_wrote_is_shown_without_anything_that_a_terminal_obeys(site: Site) -> None:
    site.register(site.home, "a\x1b[2Jb\n", "/\x1b]0;x", title="\x1b[31mred\n" * 500)

    found = site.only()

    assert all(each.isprintable() for each in (found.path, found.name, found.display_name, found.why))
    assert len(found.display_name) == 200


def test_no_link_and_no_pipe_of_the_account_s_is_followed(site: Site) -> None:
    secret = site.register(site.top / "elsewhere", "secret", "/bin/sh", title="secret")
    site.home.mkdir(parents=True)
    (site.home / "link").symlink_to(secret)
    (site.home / "inner").mkdir()
    (site.home / "inner/kernel.json").symlink_to(secret / "kernel.json")
    (site.home / "pipe").mkdir()
    os.mkfifo(site.home / "pipe/kernel.json")
    (site.home / "large").mkdir()
    (site.home / "large/kernel.json").write_text(" " * 70000)
    (site.home / "file").write_text("")
    (site.home / "empty").mkdir()

    seen = {each.name: (each.display_name, each.state, each.why) for each in site.found()}

    assert seen == {
        "link": ("", "foreign", "is a link, which is not followed here"),
        "inner": ("", "foreign", "its kernel.json cannot be read: Too many levels of symbolic links"),
        "pipe": ("", "foreign", "its kernel.json is no file of at most 65536 bytes"),
        "large": ("", "foreign", "its kernel.json is no file of at most 65536 bytes"),
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may follow links of its own")
def test_a_home_that_is_a_link_of_the_account_s_is_not_entered(site: Site) -> None:
    elsewhere = site.top / "elsewhere"
    site.register(elsewhere, "secret", "/bin/sh")
    site.uid = 65534
    site.home.parent.mkdir(parents=True)
    site.home.symlink_to(elsewhere)
    os.chown(site.home, 65534, 65534, follow_symlinks=False)
    os.chown(site.home.parent, 65534, 65534)

    assert site.found() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another account")
def test_a_directory_of_another_account_s_is_not_entered(site: Site) -> None:
    site.register(site.home, "mine", "/bin/sh")
    assert site.only().name == "mine"

    site.uid = 65533
    os.chown(site.home, 65534, 65534)

    assert site.found() == []
