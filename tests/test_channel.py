"""The channel that tests install from is spelled as conda-forge's is, is the same every time, and can be installed from."""

import hashlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from packaging.requirements import Requirement

from tests.channel import build as builder
from tests.channel.build import build, part_key
from tests.channel.debian import choose_mirror
from tests.channel.installer import write_installer
from tests.channel.names import conda_name, match_specs
from tests.channel.package import PLACEHOLDER, File, Link
from tests.channel.parts import PARTS, check_parts
from tests.channel.publish import publish, withdraw
from tests.channel.repodata import merge_repodata
from tests.channel.rlang import library_version
from tests.channel.serve import (
    Altered,
    Basic,
    Bearer,
    Door,
    Mirror,
    Mute,
    Request,
    Slow,
    Times,
    Token,
    Truncated,
    served,
)
from tests.channel.sources import source_package
from tests.channel.toys import conda, later_toys, toys, write_other, write_toys
from tests.channel.wheels import Wheel, extras_asked_for

CHECKOUT = Path(__file__).parent.parent

METADATA = """\
Metadata-Version: 2.4
Name: Demo_App
Version: 1.2
Requires-Python: >=3.9,!=3.9.1
Requires-Dist: jupyter-server<3,>=2.4
Requires-Dist: jsonschema[format-nongpl]>=4.18
Requires-Dist: tomli>=1.2; python_version < "3.11"
Requires-Dist: tzdata; extra == "zones"
Requires-Dist: backports.zoneinfo; extra == "zones" and python_version < "3.9"
"""
ENTRY_POINTS = """\
[console_scripts]
demo-app = demo.app:main [zones]
Demo = demo:app.run

[gui_scripts]
demo-window = demo:window
"""
KERNELSPEC = '{"argv": ["python", "-m", "demo_kernel"], "language": "python"}'


def wheel(directory: Path, tag: str = "py3-none-any") -> Path:
    """Write a wheel with something of every kind."""
    path = directory / f"demo_app-1.2-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("demo/__init__.py", "answer = 42\n")
        archive.writestr("demo_app-1.2.dist-info/METADATA", METADATA)
        archive.writestr("demo_app-1.2.dist-info/entry_points.txt", ENTRY_POINTS)
        archive.writestr("demo_app-1.2.dist-info/RECORD", "demo/__init__.py,,\n")
        archive.writestr("demo_app-1.2.data/scripts/demo-run", "#!python\nprint('run')\n")
        archive.writestr("demo_app-1.2.data/data/etc/jupyter/jupyter_server_config.d/demo.json", "{}")
        archive.writestr("demo_app-1.2.data/data/share/jupyter/kernels/demo/kernel.json", KERNELSPEC)
        archive.writestr("demo_app-1.2.data/purelib/demo/extra.py", "")
    return path


def content(file: File | Link) -> bytes:
    assert isinstance(file, File)
    return file.content


@pytest.mark.parametrize(
    ("python_name", "expected"),
    [
        ("jupyterlab", "jupyterlab"),
        ("jupyter-server", "jupyter_server"),
        ("Jupyter.Client", "jupyter_client"),
        ("jupyter-lsp", "jupyter-lsp"),
        ("notebook_shim", "notebook-shim"),
        ("prompt_toolkit", "prompt-toolkit"),
        ("argon2_cffi", "argon2-cffi"),
        ("importlib_metadata", "importlib-metadata"),
        ("PyMySQL", "pymysql"),
        ("mysql_connector_python", "mysql-connector-python"),
        ("fastjsonschema", "python-fastjsonschema"),
        ("tzdata", "python-tzdata"),
        ("backports.functools_lru_cache", "backports.functools_lru_cache"),
    ],
)
def test_packages_are_called_what_conda_forge_calls_them(python_name: str, expected: str) -> None:
    assert conda_name(python_name) == expected


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        pytest.param("tornado", ["tornado"], id="any version"),
        pytest.param("jupyter-server<3,>=2.4", ["jupyter_server <3,>=2.4"], id="range"),
        pytest.param("ipykernel!=6.30.0,>=6.5", ["ipykernel !=6.30.0,>=6.5"], id="exclusion"),
        pytest.param("pyzmq==26.*", ["pyzmq 26.*"], id="any of a series"),
        pytest.param("notebook~=7.0", ["notebook ~=7.0"], id="compatible"),
        pytest.param("bleach[css]!=5.0.0", ["bleach-with-css !=5.0.0"], id="extra"),
        pytest.param("demo[b,a]>=1", ["demo-with-a >=1", "demo-with-b >=1"], id="two extras"),
    ],
)
def test_a_requirement_becomes_a_match_spec(requirement: str, expected: list[str]) -> None:
    assert list(match_specs(Requirement(requirement))) == expected


def test_a_pure_wheel_becomes_a_package_for_any_python(tmp_path: Path) -> None:
    package = Wheel(wheel(tmp_path), "3.11").package()

    assert (package.name, package.version, package.subdir) == ("demo-app", "1.2", "noarch")
    assert package.depends == (
        "jsonschema-with-format-nongpl >=4.18",
        "jupyter_server <3,>=2.4",
        "python !=3.9.1,>=3.9",
    )
    assert package.entry_points == ("demo-app = demo.app:main", "Demo = demo:app.run")
    assert content(package.files["python-scripts/demo-run"]).startswith(f"#!{PLACEHOLDER}/bin/python\n".encode())
    assert {"site-packages/demo/__init__.py", "site-packages/demo/extra.py"} < package.files.keys()
    assert "etc/jupyter/jupyter_server_config.d/demo.json" in package.files


def test_a_compiled_wheel_becomes_a_package_for_one_python(tmp_path: Path) -> None:
    package = Wheel(wheel(tmp_path, "cp311-cp311-manylinux_2_28_x86_64"), "3.11").package()

    assert (package.subdir, package.build, package.entry_points) == ("linux-64", "py311_0", ())
    assert package.depends[-1] == "python >=3.11,<3.12.0a0"
    assert "lib/python3.11/site-packages/demo/__init__.py" in package.files
    script = package.files["bin/Demo"]
    assert isinstance(script, File)
    assert script.executable
    assert b"from demo import app\n\nsys.exit(app.run())" in script.content


def test_a_kernel_in_a_wheel_runs_the_python_of_its_environment(tmp_path: Path) -> None:
    files = Wheel(wheel(tmp_path), "3.11").package().files

    spec = json.loads(content(files["share/jupyter/kernels/demo/kernel.json"]))
    assert spec["argv"] == [f"{PLACEHOLDER}/bin/python", "-m", "demo_kernel"]


def test_the_record_lists_every_file_from_where_pip_stands(tmp_path: Path) -> None:
    files = Wheel(wheel(tmp_path), "3.11").package().files

    record = content(files["site-packages/demo_app-1.2.dist-info/RECORD"]).decode()
    listed = {line.split(",")[0] for line in record.splitlines()}
    assert {
        "demo/__init__.py",
        "demo_app-1.2.dist-info/RECORD",
        "../../../bin/demo-run",
        "../../../bin/demo-app",
        "../../../etc/jupyter/jupyter_server_config.d/demo.json",
    } <= listed


def test_an_extra_becomes_a_package_of_its_own(tmp_path: Path) -> None:
    demo = Wheel(wheel(tmp_path), "3.11")

    assert extras_asked_for(demo) == {("jsonschema", "format-nongpl")}
    extra = demo.package_with("zones")
    assert (extra.name, extra.depends) == ("demo-app-with-zones", ("demo-app ==1.2", "python-tzdata"))


def test_a_source_archive_gives_only_its_python_files(tmp_path: Path) -> None:
    archive = tmp_path / "tornado-4.5.3.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("setup.py", "tornado/web.py", "tornado/speedups.c", "tornado/test/web_test.py"):
            tar.addfile(tarfile.TarInfo(f"tornado-4.5.3/{name}"))

    package = source_package(archive)

    assert set(package.files) == {"site-packages/tornado/web.py", "site-packages/tornado-4.5.3-py2.7.egg-info"}
    assert package.depends[-1] == "python >=2.7,<2.8.0a0"


@pytest.mark.parametrize(
    ("debian", "conda"),
    [("1.3.2-1", "1.3.2"), ("0.3-9+dfsg-1", "0.3_9"), ("1:2.0.1+ds1-3", "2.0.1"), ("0.1-3-2", "0.1_3")],
)
def test_r_packages_have_conda_forge_versions(debian: str, conda: str) -> None:
    assert library_version(debian) == conda


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        pytest.param(
            "http://a/mariadb/|bookworm|main|MariaDB\nhttp://b/debian/|bookworm|main|Debian",
            "http://b/debian/",
            id="the one that calls itself Debian",
        ),
        pytest.param(
            "http://a/mariadb/|bookworm|main|\nhttp://b/debian/|bookworm|main|", "http://b/debian/", id="by its path"
        ),
        pytest.param("http://b/debian-security/|bookworm-security|main|Debian", None, id="security alone"),
        pytest.param("http://u/ubuntu/|noble|main|Ubuntu", None, id="another system"),
    ],
)
def test_the_mirror_is_the_machines_own(targets: str, expected: str | None) -> None:
    assert choose_mirror(targets, "bookworm") == expected


def test_two_builds_of_the_same_are_byte_for_byte_equal(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_toys(tmp_path / name)
        write_other(tmp_path / name / "other")

    first, second = (
        {path.relative_to(top): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()}
        for top in (tmp_path / "first", tmp_path / "second")
    )
    assert len(first) > 10
    assert first == second


def test_channels_merge_into_one(tmp_path: Path) -> None:
    write_toys(tmp_path / "toys")
    for subdir in ("linux-64", "noarch"):
        (tmp_path / "other" / subdir).mkdir(parents=True)
        repodata = {"packages": {}, "packages.conda": {f"x-{subdir}.conda": {"name": "x"}}}
        (tmp_path / "other" / subdir / "repodata.json").write_text(json.dumps(repodata))

    packages = merge_repodata([tmp_path / "toys", tmp_path / "other"], tmp_path / "merged")

    merged = json.loads((tmp_path / "merged/noarch/repodata.json").read_text())
    assert merged["packages.conda"] == {"x-noarch.conda": {"name": "x"}}
    assert {record["name"] for record in merged["packages"].values()} >= {"toy-app", "toy-lib"}
    assert (tmp_path / "other", "linux-64/x-linux-64.conda") in packages


def test_parts_come_in_a_fixed_order_and_unknown_ones_are_named() -> None:
    assert check_parts(["toy", "py311", "toy"]) == ("py311", "toy")
    with pytest.raises(ValueError, match="no such part: py39; there are py311, "):
        check_parts(["py311", "py39"])


def test_a_part_is_made_again_only_when_what_makes_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(builder.HERE, tmp_path / "channel")
    monkeypatch.setattr(builder, "HERE", tmp_path / "channel")
    before = {name: part_key(name) for name in PARTS}

    (tmp_path / "channel/serve.py").write_text("")
    assert {name: part_key(name) for name in PARTS} == before

    (tmp_path / "channel/requirements/py27-pure.txt").write_text("protobuf==3.17.3\n")
    assert {name for name in PARTS if part_key(name) != before[name]} == {"py27"}
    before = {name: part_key(name) for name in PARTS}

    (tmp_path / "channel/requirements/jupyter.txt").write_text("notebook==7.0\n")
    assert {name for name in PARTS if part_key(name) != before[name]} == {"jupyter"}

    (tmp_path / "channel/package.py").write_text("")
    assert {name for name in PARTS if part_key(name) != before[name]} == set(PARTS)


def test_a_second_build_leaves_the_channel_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_CACHE", str(tmp_path / "cache"))
    channel = build(tmp_path / "channel", ["toy"])
    before = (channel / "noarch/repodata.json").stat()

    build(tmp_path / "channel", ["toy"])

    assert (channel / "noarch/repodata.json").stat() == before


def test_another_directory_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_CACHE", str(tmp_path / "cache"))
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter").touch()

    with pytest.raises(FileExistsError, match="is not a channel built here"):
        build(mine, ["toy"])

    assert [path.name for path in mine.iterdir()] == ["letter"]


def get(url: str, path: str, seconds: float = 5, **headers: str) -> bytes | int:
    """The body of a good answer, the status of another one."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=seconds)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.read() if response.status == 200 else response.status
    finally:
        connection.close()


def test_the_server_keeps_connections_and_notes_what_was_asked(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")

    with Mirror(tmp_path) as mirror:
        connection = http.client.HTTPConnection(urlsplit(mirror.url).netloc, timeout=5)
        seen = []
        for path in ("/file", "/file", "/missing"):
            connection.request("GET", path)
            response = connection.getresponse()
            seen.append((response.status, response.version, b"content" in response.read()))
        connection.close()

    assert seen == [(200, 11, True), (200, 11, True), (404, 11, False)]
    assert mirror.requests == [
        Request("GET", "/file", 200),
        Request("GET", "/file", 200),
        Request("GET", "/missing", 404),
    ]
    assert mirror.asked("file") == ["/file", "/file"]
    with pytest.raises(ConnectionError):
        get(mirror.url, "/file")


def test_the_server_answers_with_chosen_faults(tmp_path: Path) -> None:
    for name in ("file", "busy", "short", "forged", "slow", "silent"):
        (tmp_path / name).write_bytes(b"x" * 3000)

    with Mirror(tmp_path) as mirror:
        mirror.faults |= {
            "busy": Times(2, HTTPStatus.SERVICE_UNAVAILABLE),
            "short": Truncated(10),
            "forged": Altered(),
            "slow": Slow(0.01),
            "silent": Mute(),
        }
        assert [get(mirror.url, "/busy") for _ in range(3)] == [503, 503, b"x" * 3000]
        with pytest.raises(http.client.IncompleteRead):
            get(mirror.url, "/short")
        assert get(mirror.url, "/forged") == b"x" * 2999 + b"y"
        assert get(mirror.url, "/slow") == b"x" * 3000
        with pytest.raises(TimeoutError):
            get(mirror.url, "/silent", seconds=0.2)
        assert get(mirror.url, "/file") == b"x" * 3000
    assert Request("GET", "/silent", 0) in mirror.requests


@pytest.mark.parametrize(
    ("door", "path", "header"),
    [
        pytest.param(Basic("ann", "sesame"), "/file", "Basic YW5uOnNlc2FtZQ==", id="basic"),
        pytest.param(Bearer("t0ken"), "/file", "Bearer t0ken", id="bearer"),
        pytest.param(Token("tk-1"), "/t/tk-1/file", "", id="in the path"),
    ],
)
def test_the_server_opens_only_for_those_who_may_come_in(tmp_path: Path, door: Door, path: str, header: str) -> None:
    (tmp_path / "file").write_text("content")

    with Mirror(tmp_path, door=door) as mirror:
        assert get(mirror.url, path, Authorization=header) == b"content"
        for wrong in ("", "Basic YW5uOndyb25n", "Bearer other"):
            assert get(mirror.url, "/file", Authorization=wrong) == 401
        assert get(mirror.url, "/t/other/file") == 401


def test_what_is_published_is_there_while_the_channel_is_served_and_the_next_build_starts_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_CACHE", str(tmp_path / "cache"))
    channel = build(tmp_path / "channel", ["toy"])
    names = index(channel)

    with Mirror(channel) as mirror:
        before = get(mirror.url, "/noarch/repodata.json")
        publish(channel, later_toys())
        assert before != get(mirror.url, "/noarch/repodata.json")
        assert index(channel) - names == {"toy-lib-2.1-0.tar.bz2", "toy-app-2.1-0.tar.bz2", "toy-module-2.0-0.tar.bz2"}
        assert isinstance(get(mirror.url, "/noarch/toy-app-2.1-0.tar.bz2"), bytes)
        withdraw(channel, "toy-module")
        assert get(mirror.url, "/noarch/toy-module-1.0-0.tar.bz2") == 404
        assert not any("toy-module" in name for name in index(channel))
    with pytest.raises(KeyError):
        withdraw(channel, "toy-module")

    assert index(build(channel, ["toy"])) == names
    assert (channel / "noarch/toy-module-1.0-0.tar.bz2").exists()


def test_a_package_published_anew_leaves_the_cache_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_CACHE", str(tmp_path / "cache"))
    first, second = build(tmp_path / "first", ["toy"]), build(tmp_path / "second", ["toy"])
    before = (second / "noarch/toy-big-1.0-0.tar.bz2").read_bytes()

    (record,) = publish(first, [replace(next(toys()), name="toy-big")])

    assert record["size"] == (first / "noarch/toy-big-1.0-0.tar.bz2").stat().st_size != len(before)
    assert (second / "noarch/toy-big-1.0-0.tar.bz2").read_bytes() == before


def index(channel: Path) -> set[str]:
    return set(json.loads((channel / "noarch/repodata.json").read_text())["packages"])


def test_the_installer_has_the_manners_of_real_ones(tmp_path: Path) -> None:
    program, prefix = tmp_path / "toyforge.sh", tmp_path / "prefix"
    digest = write_installer(program)
    assert digest == write_installer(program) == hashlib.sha256(program.read_bytes()).hexdigest()

    def install(*words: str) -> subprocess.CompletedProcess[str]:
        arguments = ("sh", str(program), *words)
        return subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)

    assert install("-p", str(prefix)).returncode == 2, "nobody has accepted the licence"
    assert not prefix.exists()
    done = install("-b", "-p", str(prefix))
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "installation finished.")
    said = subprocess.run((prefix / "bin/conda",), capture_output=True, text=True, check=True)
    assert said.stdout == f"toyforge 1.0 in {prefix}\n"
    assert (prefix / "conda-meta/history").exists()
    assert "already exists" in install("-b", "-p", str(prefix)).stderr


INSTALL = """\
import asyncio, os, sys
from rattler import Channel, Gateway, MatchSpec, Subdir, install, solve

async def main(url, prefix, cache, *specs):
    gateway = Gateway(cache_dir=cache + "/repodata")
    platforms = [Subdir("linux-64"), Subdir("noarch")]
    records = await solve([Channel(url)], [MatchSpec(spec) for spec in specs], gateway, platforms=platforms)
    await install(records, prefix, cache_dir=cache + "/packages", show_progress=False)
    print(*sorted(record.name.normalized + "=" + str(record.version) for record in records), flush=True)

asyncio.run(main(*sys.argv[1:]))
os._exit(0)
"""


def test_toys_are_solved_and_installed_over_http(tmp_path: Path) -> None:
    write_toys(tmp_path / "channel")
    prefix = tmp_path / "prefix"

    with served(tmp_path / "channel") as url:
        done = subprocess.run(
            (sys.executable, "-c", INSTALL, url, prefix, str(tmp_path / "cache"), "toy-app", "toy-old", "toy-prefix"),
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            env={**os.environ, "HOME": str(tmp_path)},
        )

    assert done.stdout.split() == ["toy-app=1.0", "toy-lib=1.1", "toy-old=1.0", "toy-prefix=1.0"]
    said = subprocess.run((prefix / "bin/toy-app",), capture_output=True, text=True, check=True)
    assert said.stdout == f"toy-app 1.0 in {prefix}\n"
    binary = (prefix / "lib/toy-prefix.bin").read_bytes()
    assert binary.startswith(b"\0\1" + os.fsencode(prefix) + b"/lib\0")
    assert len(binary) == len(b"\0\1" + PLACEHOLDER.encode() + b"/lib\0end")
    assert (prefix / "share/toy-prefix/link").read_text() == f"{prefix}\n"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base environment with the stand-in for conda, and one environment in it."""
    prefix = tmp_path / "base"
    for top in (prefix, prefix / "envs/one"):
        (top / "conda-meta").mkdir(parents=True)
        (top / "conda-meta/history").touch()
    for name, file in conda().files.items():
        path = prefix / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(file, Link):
            path.symlink_to(file.target)
        else:
            path.write_bytes(file.content.replace(PLACEHOLDER.encode(), bytes(prefix)))
            path.chmod(0o755)
    (prefix / "bin/python").symlink_to(sys.executable)
    scripts = prefix / "envs/one/etc/conda"
    for name, text in {"activate.d/x.sh": "export X=came", "deactivate.d/x.sh": "export X=left"}.items():
        (scripts / name).parent.mkdir(parents=True)
        (scripts / name).write_text(text)
    (prefix / "envs/one/conda-meta/state").write_text('{"env_vars": {"GREETING": "it\'s \\"me\\""}}')
    return prefix


def in_shell(base: Path, commands: str) -> str:
    done = subprocess.run(
        ("bash", "-euc", f". {base}/etc/profile.d/conda.sh\n{commands}"),
        env={"PATH": "/usr/bin:/bin", "HOME": str(base / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_the_stand_in_for_conda_activates_environments(base: Path) -> None:
    said = in_shell(base, 'conda activate one; echo "$CONDA_DEFAULT_ENV $CONDA_SHLVL $X $GREETING ${PATH%%:*}"')
    assert said == f'one 1 came it\'s "me" {base}/envs/one/bin\n'

    said = in_shell(
        base, 'conda activate one; conda deactivate; echo "$CONDA_SHLVL $X ${GREETING-}${CONDA_PREFIX-} $PATH"'
    )
    assert said == f"0 left  {base}/condabin:/usr/bin:/bin\n"

    said = in_shell(base, 'conda activate; conda activate one; conda deactivate; echo "$CONDA_SHLVL $CONDA_PREFIX"')
    assert said == f"1 {base}\n"
    assert "Could not find conda environment: two" in in_shell(base, "conda activate two")


def test_the_stand_in_for_conda_tells_about_environments_and_changes_none(base: Path) -> None:
    (base / ".condarc").write_text("channels:\n  - http://mirror/one\n- two\nenvs_dirs: [/nowhere]\n")
    (base / "conda-meta/demo-1.0-0.json").write_text('{"name": "demo", "version": "1.0", "build": "0"}')
    (base / "envs/one/conda-meta/frozen").write_text('{"message": "ask your administrator"}')

    assert in_shell(base, "conda --version") == "conda 26.7.1\n"
    assert in_shell(base, "conda info --base") == f"{base}\n"
    facts = json.loads(in_shell(base, "conda info --json"))
    assert (facts["channels"], facts["envs"]) == (["http://mirror/one", "two"], [str(base)])
    (base / ".condarc").unlink()
    assert json.loads(in_shell(base, "conda env list --json"))["envs"] == [str(base), f"{base}/envs/one"]
    assert f"demo{' ' * 21}1.0" in in_shell(base, f"conda list -p {base}")
    refused = in_shell(base, "conda install -y -n one numpy")
    assert f"EnvironmentIsFrozenError: Cannot modify '{base}/envs/one'" in refused
    assert "ask your administrator" in refused


@pytest.mark.parametrize(("name", "status"), [("toy-bad-kernel", 1), ("toy-mute-kernel", None)])
def test_a_package_keeps_kernels_from_starting_and_nothing_else(tmp_path: Path, name: str, status: int | None) -> None:
    for package in toys():
        if package.name == name:
            for path, file in package.files.items():
                (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / path).write_bytes(content(file))
    start = f"import site; site.addsitedir({str(tmp_path / 'site-packages')!r}); print('started')"

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        arguments: tuple[str, ...] = (sys.executable, "-c", start, *words)
        return subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=2 if words else 60)

    assert run().stdout == "started\n"
    if status is None:
        with pytest.raises(subprocess.TimeoutExpired):
            run("ipykernel_launcher")
    else:
        done = run("ipykernel_launcher")
        assert (done.returncode, done.stdout) == (status, "")
        assert done.stderr == "ImportError: libtoy.so.1: cannot open shared object file\n"


def test_the_builder_needs_nothing_but_the_standard_library() -> None:
    imports = "import sys; import tests.channel.build, tests.channel.serve; print(*sys.modules)"
    done = subprocess.run((sys.executable, "-c", imports), cwd=CHECKOUT, capture_output=True, text=True, check=True)

    foreign = {"packaging", "rattler", "backports", "pydantic", "yaml"}
    assert foreign.isdisjoint(name.partition(".")[0] for name in done.stdout.split())
    assert "tests.channel.toys" in done.stdout.split()
