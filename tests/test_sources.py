"""Package sources of throw-away hosts are those of the system they are made on."""

from __future__ import annotations

from pathlib import Path

from agent.sandbox.sources import Archive, Sources, archives, pip_folders, pip_settings, put

DEBIAN = (Archive("http://ftp.debian.org/debian"), Archive("http://security.debian.org/debian-security"))

SOURCES = """\
# a mirror
Types: deb deb-src
# URIs: http://commented.example/debian
URIs: http://mirror.example/debian
Suites: trixie
 trixie-updates
Components: main
Signed-By: /etc/apt/keyrings/mirror.gpg

Types: deb
URIs: http://off.example/security
Suites: trixie-security
Enabled: no

Types: deb
URIs: http://mirror.example/security
Suites: trixie-security
Trusted: yes
"""


def test_a_mirror_in_deb822_notation_is_used_with_its_keyring(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/debian.sources").write_text(SOURCES)
    assert archives(tmp_path) == (
        Archive("http://mirror.example/debian", "/etc/apt/keyrings/mirror.gpg"),
        Archive("http://mirror.example/security", trusted=True),
    )


def test_a_mirror_in_one_line_notation_is_used(tmp_path: Path) -> None:
    lines = "deb cdrom:[Debian] bookworm main\n#deb http://no.example/debian bookworm main\n"
    lines += "deb [arch=amd64 signed-by=/k.gpg] https://mirror.example/debian bookworm main contrib\n"
    lines += "deb http://mirror.example/security bookworm-security main\n"
    (tmp_path / "sources.list").write_text(lines)
    assert archives(tmp_path) == (
        Archive("https://mirror.example/debian", "/k.gpg"),
        Archive("http://mirror.example/security"),
    )


def test_sources_of_others_are_not_taken_for_debian(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(
        "deb http://archive.ubuntu.com/ubuntu noble main\n"
        "deb http://security.ubuntu.com/ubuntu noble-security main\n"
        "deb https://vendor.example/apt nodistro main\n"
    )
    assert archives(tmp_path) == DEBIAN
    assert archives(tmp_path / "absent") == DEBIAN


def test_pip_settings_of_files_and_variables_become_one_file_without_paths_of_certificates(tmp_path: Path) -> None:
    site, user = tmp_path / "site.conf", tmp_path / "user.conf"
    site.write_text("[global]\nindex_url = https://site.example/simple\ncert = /ca.pem\ntarget = /elsewhere\n")
    user.write_text("[global]\nindex-url = https://user.example/simple\n[install]\nfind-links =\n    /a\n    /b\n")
    variables = {"PIP_RETRIES": "1", "PIP_NO_INDEX": "", "PIP_CERT": "/other.pem", "PATH": "/bin"}
    text, named = pip_settings([str(site), str(user), "", str(tmp_path / "absent")], variables)
    assert text == "[global]\nfind-links = /a /b\nindex-url = https://user.example/simple\nretries = 1\n"
    assert named["cert"] == "/other.pem"
    assert pip_settings([], {}) == ("", {})


def test_local_folders_that_pip_looks_into_are_found_with_what_an_index_refers_to(tmp_path: Path) -> None:
    for name in ("index/simple", "index/files", "wheels with space"):
        (tmp_path / name).mkdir(parents=True)
    named = {
        "index-url": "https://far.example/simple",
        "extra-index-url": f"{tmp_path.as_uri()}/index/simple/",
        "find-links": f"{(tmp_path / 'wheels with space').as_uri()} {tmp_path}/absent",
    }
    assert pip_folders(named) == (tmp_path / "index", tmp_path / "wheels with space")


def test_a_link_in_a_root_is_replaced_and_not_followed(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.write_text("untouched")
    (root / "etc").mkdir(parents=True)
    (root / "etc/resolv.conf").symlink_to(outside)
    put(root, "etc/resolv.conf", "nameserver 127.0.0.1\n")
    assert outside.read_text() == "untouched"
    assert not (root / "etc/resolv.conf").is_symlink()


def test_the_rolling_release_has_one_suite_and_an_index_that_may_be_old(tmp_path: Path) -> None:
    here = Sources(Archive("http://mirror.example.org/debian"), Archive("http://x"), "", "", (), (), ())
    for suite in ("sid", "trixie"):
        here.install(tmp_path / suite, suite)

    rolling = (tmp_path / "sid/etc/apt/sources.list.d/debian.sources").read_text()
    assert "Suites: sid\n" in rolling
    assert "security" not in rolling
    assert "Check-Valid-Until" in (tmp_path / "sid/etc/apt/apt.conf.d/90agent").read_text()
    assert "Suites: trixie-security" in (tmp_path / "trixie/etc/apt/sources.list.d/debian.sources").read_text()
    assert "Check-Valid-Until" not in (tmp_path / "trixie/etc/apt/apt.conf.d/90agent").read_text()
