"""What the `conda` section stands for."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.kinds.environment import Environment
from agent.kinds.kernelspec import LAUNCHER, Kernelspec
from agent.resource import Ref, Resource
from agent.spec.expand_conda import expand_conda
from agent.spec.sections.environment import KERNEL_COMMANDS
from agent.spec.source import Document, examine
from agent.spec.spec import SERVER_PACKAGES
from agent.steps import Content, Listing, Login, SecretRef


def expanded(text: str, listings: dict[str, Listing] | None = None) -> dict[str, Resource]:
    examined = examine([Document("s.yaml", text.encode())])
    assert examined.problems == () and examined.spec
    return {str(each.ref): each for each in expand_conda(examined.spec, listings or {})}


def environment(text: str, name: str = "a") -> Environment:
    found = expanded(text)[f"environment:{name}"]
    assert isinstance(found, Environment)
    return found


def content(resource: Any) -> str:
    assert isinstance(resource.content, Content) and not resource.content.hidden
    return "".join(map(str, resource.content.pieces))


WHOLE = """\
user: {name: alice}
conda:
  root: /srv/conda
  channels: [conda-forge, 'https://conda.example.org/team']
  mirrors: {conda-forge: ['https://m.example.org/a', 'https://n.example.org/b']}
  authentication:
    conda.example.org: {username: reader, password: {file: /etc/agent/secrets/conda}}
    m.example.org: {token: {credential: conda.token}}
    n.example.org: {token: {file: /etc/agent/secrets/n}, scheme: conda}
  offline: true
  timeout: 90s
  retries: 5
  keep: 3
  environments:
    a:
      packages: [python 3.11.*, ipykernel, pip]
      pip: [rich]
      channels: [conda-forge]
      variables: {B: 2, A: '1'}
      activation: ulimit -c 0
      update: 7d
      link_scripts: [fonts]
      kernel: Python 3.11
"""


def test_everything_an_environment_says_reaches_it() -> None:
    assert environment(WHOLE) == Environment(
        "a",
        root="/srv/conda",
        owner="alice",
        channels=("conda-forge",),
        packages=("python 3.11.*", "ipykernel", "pip"),
        pip=("rich",),
        variables=(("A", "1"), ("B", "2")),
        activation="ulimit -c 0\n",
        kernels=(KERNEL_COMMANDS["python"],),
        update=7 * 86400.0,
        keep=3,
        mirrors=(("conda-forge", ("https://m.example.org/a", "https://n.example.org/b")),),
        logins=(
            Login("conda.example.org", "basic", SecretRef("file", "/etc/agent/secrets/conda"), "reader"),
            Login("m.example.org", "bearer", SecretRef("credential", "conda.token")),
            Login("n.example.org", "token", SecretRef("file", "/etc/agent/secrets/n")),
        ),
        offline=True,
        timeout=90.0,
        retries=5,
        link_scripts=("fonts",),
        after=(
            Ref("directory", "/srv/conda/builds"),
            Ref("directory", "/srv/conda/envs"),
            Ref("directory", "/srv/conda/pkgs"),
            Ref("user", "alice"),
            Ref("group", "alice"),
            Ref("secret", "conda.conda.example.org"),
            Ref("secret", "conda.m.example.org"),
            Ref("secret", "conda.n.example.org"),
        ),
    )


def test_what_an_environment_comes_after_is_among_the_resources() -> None:
    found = expanded(WHOLE)
    after = {str(ref) for ref in environment(WHOLE).after} - {"user:alice", "group:alice"}

    assert after <= found.keys()


def test_an_environment_is_quiet_about_what_it_does_not_say() -> None:
    found = environment("conda: {environments: {a: {packages: [numpy]}}}")

    assert (found.update, found.keep, found.timeout, found.retries, found.offline) == (0.0, 2, 60.0, 2, False)
    assert (found.kernels, found.variables, found.activation, found.listing, found.logins) == ((), (), "", None, ())


def test_listed_packages_reach_their_environment_alone() -> None:
    listing = Listing("/s/spec.lock", "0" * 32, "agent", "a")
    found: dict[str, Any] = expanded(
        "conda: {environments: {a: {packages: [numpy]}, b: {packages: [numpy]}}}", {"a": listing}
    )

    assert found["environment:a"].listing == listing
    assert found["environment:b"].listing is None


def test_the_server_s_own_environment_has_no_schedule_and_no_kernel() -> None:
    found = environment("jupyter: {}", "jupyter")

    assert (found.packages, found.update, found.kernels) == (SERVER_PACKAGES, 0.0, ())


@pytest.mark.parametrize(
    ("section", "language", "debugger"),
    [
        ("{packages: [python 3.11.*, ipykernel]}", "python", True),
        ("{packages: [python 2.7.*, ipykernel]}", "python", False),
        ("{packages: ['conda-forge::python=2.7', ipykernel]}", "python", False),
        ("{packages: [r-irkernel]}", "R", False),
        ("{packages: [x], kernel: {language: julia, command: [j, '{connection_file}']}}", "julia", False),
    ],
)
def test_a_kernel_is_registered_with_its_command(section: str, language: str, debugger: bool) -> None:
    found = expanded(f"user: {{name: alice}}\nconda: {{environments: {{a: {section}}}}}")
    kernel, made = found["kernelspec:a"], found["environment:a"]

    assert isinstance(kernel, Kernelspec) and isinstance(made, Environment)
    assert (kernel.language, kernel.debugger, kernel.owner) == (language, debugger, "alice")
    assert kernel.prefix == "/opt/conda/envs/a"
    assert made.kernels == (kernel.command,)
    assert {Ref("environment", "a"), Ref("file", LAUNCHER)} <= set(kernel.after)
    assert f"file:{LAUNCHER}" in found


def test_the_launcher_is_there_for_a_server_without_kernels() -> None:
    assert f"file:{LAUNCHER}" in expanded("jupyter: {}")
    assert f"file:{LAUNCHER}" not in expanded("conda: {base: true}")


BASE = """\
user: {name: alice}
conda:
  channels: [conda-forge, 'https://conda.example.org/team']
  channel_alias: https://conda.example.org
  mirrors: {conda-forge: ['https://m.example.org/a', 'https://n.example.org/b']}
  base: true
"""


def test_the_base_is_an_environment_with_conda_in_it() -> None:
    found = environment(BASE, "base")

    assert (found.packages, found.installer, found.update) == (("conda",), None, 0.0)
    assert found.channels == ("conda-forge", "https://conda.example.org/team")


def test_an_installer_makes_the_base_instead_of_packages() -> None:
    digest = "a" * 64
    found = environment(
        f"conda: {{base: {{installer: {{url: 'https://c.example.org/M.sh', sha256: {digest}}}}}}}", "base"
    )

    assert (found.packages, found.installer) == ((), ("https://c.example.org/M.sh", f"sha256:{digest}"))


def test_an_md5_is_taken_with_a_note() -> None:
    text = f"conda: {{base: {{installer: {{url: 'https://c.example.org/M.sh', md5: {'a' * 32}}}}}}}"
    examined = examine([Document("s.yaml", text.encode())])

    assert environment(text, "base").installer == ("https://c.example.org/M.sh", f"md5:{'a' * 32}")
    assert [note.field for note in examined.notes] == ["conda.base.installer.md5"]


def test_conda_has_the_same_channels_and_no_secrets() -> None:
    text = BASE + "  authentication: {m.example.org: {token: {file: /etc/agent/secrets/m}}}\n"
    file: Any = expanded(text)["file:/etc/conda/.condarc"]

    assert (file.mode, file.owner) == (0o644, "root")
    assert yaml.safe_load(content(file)) == {
        "channels": ["https://m.example.org/a", "https://conda.example.org/team"],
        "channel_alias": "https://conda.example.org",
        "channel_priority": "strict",
        "envs_dirs": ["~/.conda/envs", "/opt/conda/envs"],
        "pkgs_dirs": ["~/.conda/pkgs"],
        "auto_update_conda": False,
        "notify_outdated_conda": False,
    }
    offline: Any = expanded(BASE + "  offline: true\n")["file:/etc/conda/.condarc"]
    assert yaml.safe_load(content(offline))["offline"] is True


def test_only_the_account_itself_reads_what_it_could_have_written(tmp_path: Path) -> None:
    """The script is run by this account, once for itself and once for another one."""
    account = subprocess.run(["/usr/bin/id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    root = tmp_path / "it's a root"
    script = root / "envs/base/etc/profile.d/conda.sh"
    script.parent.mkdir(parents=True)
    script.write_text("echo read\n")
    theirs: Any = expanded(BASE.replace("  base:", f'  root: "{root}"\n  base:'))["file:/etc/profile.d/agent-conda.sh"]

    def output(text: str) -> str:
        done = subprocess.run(["/bin/sh", "-euc", text], capture_output=True, text=True, check=True)
        return done.stdout + done.stderr

    assert output(content(theirs)) == ""
    mine = content(theirs).replace("-- alice", f"-- {account}")
    assert mine != content(theirs)
    if account == "root":
        assert output(mine) == ""
        mine = mine.replace("!= 0", "= 0")
    assert output(mine) == "read\n"


def test_shells_are_left_alone_where_that_is_wanted() -> None:
    assert "file:/etc/profile.d/agent-conda.sh" in expanded(BASE)
    assert "file:/etc/profile.d/agent-conda.sh" not in expanded(BASE.replace("true", "{shell: false}"))


NOTED = """\
conda:
  channels: ['http://conda.example.org/team']
  authentication: {conda.example.org: {token: {file: /x}}}
  offline: true
  environments:
    a: {packages: [x], variables: {API_TOKEN: x}, update: 1d}
"""


def test_what_is_risky_is_noted() -> None:
    assert [note.field for note in examine([Document("s.yaml", NOTED.encode())]).notes] == [
        'conda.authentication["conda.example.org"]',
        "conda.environments.a.variables.API_TOKEN",
        "conda.environments.a.update",
    ]
