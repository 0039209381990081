"""An installer program is run as its owner if it is the very file that was asked for, and never otherwise."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from agent.workers import installer
from agent.workers.problems import WorkError
from tests.channel.installer import write_installer
from tests.channel.serve import Altered, Mirror, Mute, Slow, Truncated
from tests.workers.conftest import CHECKOUT, NOBODY, Worker

NAME = "Toyforge-1.0-Linux-x86_64.sh"
PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
from agent.workers import installer
from agent.workers.problems import WorkError
request = json.load(sys.stdin)
for name, value in request["settings"].items():
    setattr(installer, name, value)
said = []
try:
    installer.run(*request["arguments"], said.append)
    answer = {}
except WorkError as error:
    answer = {"error": str(error), "hint": error.hint, "temporary": error.temporary}
print(json.dumps({**answer, "said": said}))
"""


class Site:
    """Served installers, and a way to run them as an account without rights."""

    def __init__(self, mirror: Mirror, home: Path) -> None:
        self.mirror, self.home = mirror, home
        self.prefix, self.cache = home / "base", home / "pkgs"
        self.digest = self.serve()
        self.settings: dict[str, Any] = {}
        self.variables: dict[str, str] = {}

    def serve(self, step: str = ":") -> str:
        """Puts an installer on the server that also does this; returns its digest."""
        return "sha256:" + write_installer(self.mirror.directory / NAME, step=step)

    @property
    def url(self) -> str:
        return f"{self.mirror.url}/{NAME}"

    def run(self, digest: str | None = None, url: str | None = None, *, drop: bool = True) -> dict[str, Any]:
        setpriv = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        arguments = [url or self.url, digest or self.digest, str(self.prefix), str(self.cache)]
        done = subprocess.run(
            [*(setpriv if drop and os.geteuid() == 0 else []), sys.executable, "-I", "-c", PROGRAM, str(CHECKOUT)],
            input=json.dumps({"arguments": arguments, "settings": self.settings}),
            capture_output=True,
            text=True,
            check=True,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), **self.variables},
            cwd="/",
            timeout=60,
        )
        return dict(json.loads(done.stdout))

    def refused(self, digest: str | None = None, url: str | None = None) -> dict[str, Any]:
        """What is said of an installer that must not be run, or must fail; nothing may be left of it."""
        answer = self.run(digest, url)
        assert "error" in answer, answer
        assert not self.prefix.exists()
        assert not list(self.cache.glob("installers/.new-*"))
        return answer


@pytest.fixture
def site(tmp_path: Path, home: Path) -> Iterator[Site]:
    with Mirror(tmp_path) as mirror:
        yield Site(mirror, home)


def test_an_installer_makes_an_environment_and_is_kept_for_the_next_time(site: Site) -> None:
    for name in ("first", "second"):
        site.prefix = site.home / name
        answer = site.run()
        assert "error" not in answer, answer
        said = subprocess.run([site.prefix / "bin/conda"], capture_output=True, text=True, check=True).stdout
        assert said == f"toyforge 1.0 in {site.prefix}\n"
        assert f"running {NAME}" in answer["said"]
    assert len(site.mirror.asked(NAME)) == 1


def test_a_newer_installer_makes_another_build_and_an_older_one_goes_back(worker: Worker) -> None:
    program, digests, builds = worker.channel.directory / NAME, [], []
    for version in ("1.0", "2.0"):
        digests.append(f"sha256:{write_installer(program, version)}")
        worker.apply(installer=[f"{worker.channel.url}/{NAME}", digests[-1]])
        builds.append(worker.build)
        assert (
            f"toyforge {version}"
            in subprocess.run([worker.prefix / "bin/conda"], capture_output=True, text=True, check=True).stdout
        )
        assert worker.manifest.asked.installer == digests[-1]

    worker.apply(installer=[f"{worker.channel.url}/{NAME}", digests[0]])

    assert worker.build == builds[0] != builds[1]


def test_a_file_with_another_digest_is_never_run(site: Site) -> None:
    expected = site.digest
    found = site.serve(f"touch {site.home}/ran")

    answer = site.refused(expected)

    assert expected.removeprefix("sha256:") in answer["error"]
    assert found.removeprefix("sha256:") in answer["error"]
    assert "it was not run" in answer["error"]
    assert answer["hint"]
    assert not answer["temporary"]
    assert not (site.home / "ran").exists()
    assert not list(site.cache.glob("installers/*"))


@pytest.mark.parametrize("fault", [Altered(), Truncated(500)], ids=["altered", "truncated"])
def test_a_spoilt_download_is_never_run_and_the_next_one_begins_anew(site: Site, fault: Any) -> None:
    site.mirror.faults[NAME] = fault

    answer = site.refused()

    assert answer["temporary"] == isinstance(fault, Truncated)
    assert ("broke off after 500 of" in answer["error"]) == isinstance(fault, Truncated)
    site.mirror.faults.clear()
    assert "error" not in site.run()


def test_a_cached_file_that_somebody_changed_is_fetched_again(site: Site) -> None:
    site.run()
    (kept,) = site.cache.glob("installers/*.sh")
    kept.write_text(f"touch {site.home}/ran")
    site.prefix.rename(site.home / "first")

    assert "error" not in site.run()

    assert not (site.home / "ran").exists()
    assert len(site.mirror.asked(NAME)) == 2


def test_an_old_archive_is_checked_by_md5_with_a_warning(site: Site) -> None:
    content = (site.mirror.directory / NAME).read_bytes()

    answer = site.run("md5:" + hashlib.md5(content, usedforsecurity=False).hexdigest())

    assert "error" not in answer
    assert any("MD5 alone" in text for text in answer["said"])
    site.prefix = site.home / "another"
    assert (
        f"the md5 {hashlib.md5(content, usedforsecurity=False).hexdigest()}" in site.refused("md5:" + "0" * 32)["error"]
    )
    assert "not by 'sha1'" in site.refused("sha1:" + "0" * 40)["error"]


@pytest.mark.parametrize(
    ("status", "temporary"),
    [(HTTPStatus.NOT_FOUND, False), (HTTPStatus.FORBIDDEN, False), (HTTPStatus.SERVICE_UNAVAILABLE, True)],
)
def test_what_the_server_answers_is_said(site: Site, status: HTTPStatus, temporary: bool) -> None:
    site.mirror.faults[NAME] = status

    answer = site.refused()

    assert f"the server answers {status.value} {status.phrase}" in answer["error"]
    assert answer["temporary"] == temporary


def test_a_server_that_is_not_there_or_silent_or_slow_is_a_temporary_failure(site: Site) -> None:
    site.settings = {"ANSWER_SECONDS": 0.3, "DOWNLOAD_SECONDS": 0.3}
    site.mirror.faults[NAME] = Mute()
    assert site.refused()["temporary"]
    site.mirror.faults[NAME] = Slow(0.1)
    slow = site.refused()
    assert slow["temporary"]
    assert "not there whole after" in slow["error"]
    site.mirror.stop()
    gone = site.refused()
    assert gone["temporary"]
    assert "Connection refused" in gone["error"]


def test_more_than_an_installer_can_have_is_not_fetched(site: Site) -> None:
    site.settings = {"LARGEST": 1000}

    assert "an installer has at most 1,000" in site.refused()["error"]


def test_a_disk_without_room_is_said_before_the_first_byte(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    free = os.statvfs("/")
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((4096, 4096, 1000, 10, 10, *tuple(free)[5:10])))

    with pytest.raises(WorkError, match="not enough room") as raised:
        installer.fetch(site.url, site.digest, str(site.cache), lambda _: None)

    assert raised.value.kind == "space"
    assert not list(site.cache.glob("installers/*"))


def test_only_the_web_and_local_files_are_read(site: Site) -> None:
    assert "not from ftp://x/y.sh" in site.refused(url="ftp://x/y.sh")["error"]
    missing = site.refused(url="file:///no/such.sh")
    assert "No such file" in missing["error"]
    assert not missing["temporary"]

    local = site.home / NAME
    write_installer(local)
    assert "error" not in site.run(url=f"file://{local}")


def test_the_last_words_of_an_installer_that_fails_are_said(site: Site) -> None:
    digest = site.serve("echo one; echo 'LibMambaError: the moon is full' >&2; exit 3")

    answer = site.refused(digest)

    assert f"the installer {NAME} exited 3: " in answer["error"]
    assert answer["error"].endswith("one; LibMambaError: the moon is full")
    assert not answer["temporary"]


def test_an_installer_without_an_environment_has_failed_whatever_it_says(site: Site) -> None:
    digest = site.serve('rm -r "$PREFIX"')

    assert "exited 0 and made no environment" in site.refused(digest)["error"]


def test_an_installer_that_does_not_end_is_stopped_with_all_that_it_started(site: Site) -> None:
    site.settings = {"RUN_SECONDS": 0.5}
    digest = site.serve(f"sleep 600 & echo $! >{site.home}/pid; wait")

    answer = site.refused(digest)

    assert "was stopped" in answer["error"]
    assert answer["temporary"]
    status = Path(f"/proc/{(site.home / 'pid').read_text().strip()}/stat")
    assert not status.exists() or status.read_text().split()[2] == "Z"


def test_an_installer_sees_nothing_of_the_account_s_settings(site: Site) -> None:
    site.variables = {"PYTHONPATH": "/mine", "CONDA_CHANNELS": "mine", "LD_LIBRARY_PATH": "/mine", "http_proxy": ""}
    digest = site.serve('env >"$PREFIX/seen"; touch "$HOME/.bashrc"; read -r answer && exit 9 || true')

    answer = site.run(digest)

    assert "error" not in answer, answer
    seen = (site.prefix / "seen").read_text()
    assert "mine" not in seen
    assert f"HOME={site.home}\n" not in seen
    assert "http_proxy=" in seen
    assert not (site.home / ".bashrc").exists()


def test_what_is_there_already_is_left_alone(site: Site) -> None:
    site.prefix.mkdir()
    (site.prefix / "letter").write_text("mine")

    answer = site.run()

    assert "exists already" in answer["error"]
    assert (site.prefix / "letter").read_text() == "mine"


def test_names_are_never_shell_commands(site: Site) -> None:
    site.prefix = site.home / "$(touch${IFS}ran);'\""

    answer = site.run()

    assert "error" not in answer, answer
    assert (site.prefix / "conda-meta/history").exists()
    assert not list(site.home.rglob("ran"))
    assert "shell=" not in inspect.getsource(installer)


def test_root_is_refused(site: Site) -> None:
    assert os.geteuid() == 0, "tests of workers are run by root, who hands them to an account without rights"
    answer = site.run(drop=False)

    assert "never run by root" in answer["error"]
    assert not site.prefix.exists()


def test_a_server_with_a_wrong_certificate_gets_no_further(site: Site, tmp_path: Path) -> None:
    import http.server
    import ssl

    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        answer = site.refused(url=f"https://localhost:{server.server_address[1]}/{NAME}")
    finally:
        server.shutdown()
        server.server_close()

    assert "CERTIFICATE_VERIFY_FAILED" in answer["error"]
    assert not answer["temporary"]
