"""The channel that tests install from is spelled as conda-forge's is, is the same every time, and can be installed from."""

import http.client
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from packaging.requirements import Requirement

from tests.channel import build as builder
from tests.channel.build import build, part_key
from tests.channel.debian import choose_mirror
from tests.channel.names import conda_name, match_specs
from tests.channel.package import PLACEHOLDER, File, Link
from tests.channel.parts import PARTS, check_parts
from tests.channel.repodata import merge_repodata
from tests.channel.rlang import library_version
from tests.channel.serve import served
from tests.channel.sources import source_package
from tests.channel.toys import write_toys
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


def test_the_server_keeps_connections_and_answers_with_chosen_faults(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")

    with served(tmp_path, fault=lambda path: HTTPStatus.FORBIDDEN if path == "/broken" else None) as url:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
        statuses = []
        for path in ("/file", "/file", "/missing", "/broken"):
            connection.request("GET", path)
            response = connection.getresponse()
            statuses.append((response.status, response.version, b"content" in response.read()))
        connection.close()

    assert statuses == [(200, 11, True), (200, 11, True), (404, 11, False), (403, 11, False)]


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


def test_the_builder_needs_nothing_but_the_standard_library() -> None:
    imports = "import sys; import tests.channel.build, tests.channel.serve; print(*sys.modules)"
    done = subprocess.run((sys.executable, "-c", imports), cwd=CHECKOUT, capture_output=True, text=True, check=True)

    foreign = {"packaging", "rattler", "backports", "pydantic", "yaml"}
    assert foreign.isdisjoint(name.partition(".")[0] for name in done.stdout.split())
    assert "tests.channel.toys" in done.stdout.split()
