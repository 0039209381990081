"""The launcher starts a command as `conda activate` would have it, in the build that the link says now, and adds nothing of its own."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from agent.render import render

REPORT = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))"
PYTHON = ["/usr/bin/python3", "-c", REPORT]


class Site:
    """Two environments, each a link to a build."""

    def __init__(self, top: Path) -> None:
        self.launcher = top / "in-environment"
        self.launcher.write_text("".join(map(str, render("in-environment.sh.j2").pieces)))
        self.launcher.chmod(0o755)
        self.envs, self.builds = top / "envs", top / "builds"
        self.envs.mkdir()
        for name in ("one", "two"):
            self.link(name, "1")

    def build(self, name: str, build: str = "1") -> Path:
        return self.builds / name / build

    def link(self, name: str, build: str) -> None:
        for directory in ("bin", "conda-meta"):
            (self.build(name, build) / directory).mkdir(parents=True, exist_ok=True)
        (self.envs / name).unlink(missing_ok=True)
        (self.envs / name).symlink_to(f"../builds/{name}/{build}")

    def write(self, path: str, content: object, name: str = "one") -> None:
        file = self.build(name) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content))

    def sees(self, *words: str, name: str = "one", **variables: str) -> tuple[list[str], dict[str, str]]:
        """What a program sees that is started in the environment: its arguments and variables."""
        done = self.run(*PYTHON, *words, name=name, **variables)
        assert done.returncode == 0, done.stderr
        arguments, seen = json.loads(done.stdout)
        return arguments, seen

    def run(self, *words: str, name: str = "one", **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": "/usr/bin:/bin", **variables}
        argv = [str(self.launcher), str(self.envs / name), *words]
        return subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_command_runs_in_the_build_of_the_moment(site: Site) -> None:
    link = str(site.envs / "one")

    arguments, seen = site.sees(f"{link}/bin/jupyter-lab", f"x={link}/bin", "one two", "*", "", f"{link}x/bin")
    build = str(site.build("one"))

    assert arguments == [f"{build}/bin/jupyter-lab", f"x={link}/bin", "one two", "*", "", f"{link}x/bin"]
    assert seen["PATH"] == f"{build}/bin:/usr/bin:/bin"
    conda = {name: value for name, value in seen.items() if name.startswith("CONDA")}
    assert conda == {"CONDA_PREFIX": build, "CONDA_DEFAULT_ENV": "one", "CONDA_SHLVL": "1"}
    site.link("one", "2")
    assert site.sees()[1]["CONDA_PREFIX"] == str(site.build("one", "2"))


def test_a_command_gets_nothing_of_the_launcher_s_own(site: Site) -> None:
    site.write("etc/conda/activate.d/a.sh", "set -u")
    site.write("conda-meta/state", {"env_vars": {"TOY": "1"}})

    mine = {"path": "1", "file": "2", "text": "3", "found": "4", "python": "5", "files": "6"}
    _, seen = site.sees(**mine)

    assert seen.keys() - {"_", "PWD", "OLDPWD", "SHLVL", "LC_CTYPE"} == {
        *mine, "TOY", "PATH", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "CONDA_SHLVL"
    }  # fmt: skip
    assert {name: seen[name] for name in mine} == mine


def test_packages_and_the_spec_set_variables_and_the_spec_s_win(site: Site) -> None:
    odd = 'it\'s a $(touch /tmp/never) \\ "value" é\nof two lines'
    site.write("etc/conda/env_vars.d/b.json", {"TOY": odd, "BOTH": "package", "a-b": "no", "NUMBER": 1, "LATE": "b"})
    site.write("etc/conda/env_vars.d/a.json", {"LATE": "a", "GONE": "***unset***", "NUL": "a\0b"})
    site.write("conda-meta/state", {"version": 1, "env_vars": {"BOTH": "spec"}})

    _, seen = site.sees()

    wanted = {"TOY": odd, "BOTH": "spec", "LATE": "b", "NUL": "ab"}
    assert {name: seen[name] for name in wanted} == wanted
    assert not {"a-b", "NUMBER", "GONE"} & seen.keys()


def test_scripts_of_packages_are_sourced_and_kept_from_the_command_s_own(site: Site) -> None:
    site.write(
        "etc/conda/activate.d/a b.sh", 'export TOY_HOME="$CONDA_PREFIX/share/toy"; echo noise; read -r line; set -e'
    )
    site.write("etc/conda/activate.d/c.sh", 'export ARGUMENTS="$#"; set -- changed; false || return 0')

    arguments, seen = site.sees("kept")

    assert arguments == ["kept"]
    assert seen["TOY_HOME"] == f"{site.build('one')}/share/toy"
    assert seen["ARGUMENTS"] == "0"


def test_what_the_server_s_environment_sets_is_taken_back_for_a_kernel_of_another(site: Site) -> None:
    site.write("etc/conda/activate.d/a.sh", "export PROJ=$CONDA_PREFIX/proj")
    site.write("etc/conda/deactivate.d/a.sh", "unset PROJ; LEFT=$LEFT-a")
    site.write("etc/conda/deactivate.d/b.sh", "export LEFT=b")
    site.write("conda-meta/state", {"env_vars": {"TOY": "1", "LANG": "fr_FR.UTF-8"}})

    server = site.sees(LANG="C.UTF-8")[1]
    kernel = site.sees(name="two", **server)[1]

    assert (server["PROJ"], server["TOY"], server["LANG"]) == (f"{site.build('one')}/proj", "1", "fr_FR.UTF-8")
    assert not {"PROJ", "TOY"} & kernel.keys()
    assert (kernel["LANG"], kernel["LEFT"]) == ("C.UTF-8", "b-a")
    assert kernel["PATH"] == f"{site.build('two')}/bin:/usr/bin:/bin"
    assert kernel["CONDA_DEFAULT_ENV"] == "two"
    again = site.sees(**server)[1]
    assert {name: again[name] for name in ("PROJ", "TOY", "LANG", "PATH")} == {
        name: server[name] for name in ("PROJ", "TOY", "LANG", "PATH")
    }


def test_a_list_of_variables_that_cannot_be_read_is_named_and_costs_no_kernel(site: Site) -> None:
    site.write("etc/conda/env_vars.d/a.json", "{")
    site.write("conda-meta/state", {"env_vars": {"TOY": "1"}})

    done = site.run(*PYTHON)

    assert json.loads(done.stdout)[1]["TOY"] == "1"
    assert "etc/conda/env_vars.d/a.json is left out" in done.stderr


def test_the_command_takes_the_launcher_s_place(site: Site) -> None:
    argv = [str(site.launcher), str(site.envs / "one"), "/bin/sh", "-c", "echo $$; exec sleep 60"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert int(process.stdout.readline()) == process.pid
        process.send_signal(signal.SIGINT)

    assert process.returncode == -signal.SIGINT


@pytest.mark.parametrize(
    ("state", "programs"),
    [(None, 0), ({}, 0), ({"version": 1, "env_vars": {}}, 0), ({"env_vars": {"TOY": "1"}}, 1)],
    ids=["none", "empty", "no-variables", "one"],
)
def test_a_program_is_run_only_where_there_is_something_to_read(site: Site, state: object, programs: int) -> None:
    if state is not None:
        site.write("conda-meta/state", state)

    done = subprocess.run(
        ["/bin/bash", "-x", site.launcher, site.envs / "one", "/bin/true"], capture_output=True, text=True, check=True
    )

    assert "exec /bin/true" in done.stderr
    assert done.stderr.count("/usr/bin/python3 -E -s -S") == programs


def test_the_build_comes_first_on_the_path_and_once(site: Site) -> None:
    build, link = site.build("one"), site.envs / "one"

    _, seen = site.sees(PATH=f"{build}/bin:{link}/bin:/usr/bin:{link}/bin:{link}/binary:/bin")

    assert seen["PATH"] == f"{build}/bin:/usr/bin:{link}/binary:/bin"


def test_an_environment_that_is_not_there_or_not_a_whole_path_is_named(site: Site) -> None:
    for link in (f"{site.envs}/gone", "one"):
        argv = [str(site.launcher), link, "/bin/true"]

        done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=site.envs)

        assert done.returncode == 127
        assert done.stderr == f"in-environment: there is no environment at {link}\n"
