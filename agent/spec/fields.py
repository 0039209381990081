"""Field types that several sections share, with messages a person understands."""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from .base import Between, Spelled, refuse

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}
DURATION = r"(?:[0-9]{1,6}[smhdwy])+"
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def one_line(text: str) -> str:
    """Text that is safe in a unit, a configuration file and a terminal: one line, nothing invisible at its ends."""
    if CONTROL.search(text):
        raise refuse("must be one line without control characters", show=False)
    if text != text.strip():
        raise refuse("must not begin or end with a blank", show=False)
    if not 0 < len(text) <= 1000:
        raise refuse("must be 1 to 1000 characters long", show=False)
    return text


def _path(text: str) -> str:
    one_line(text)
    if not text.startswith("/"):
        raise refuse("must be an absolute path, beginning with /")
    return plain_path(text)


def plain_path(text: str) -> str:
    """A path that says no more than it needs to, absolute or not."""
    one_line(text)
    if "//" in text or any(part in (".", "..") for part in text.split("/")) or (text != "/" and text.endswith("/")):
        raise refuse("must be a path in its plain form: no '//', no '.' or '..', no '/' at the end")
    return text


def _home_path(text: str) -> str:
    if text.startswith("~/"):
        _path(text[1:])
        return text
    if not text.startswith("/"):
        raise refuse("must be an absolute path, or one below the account's home such as ~/notebooks")
    return _path(text)


def _whole(value: Any) -> Any:
    """Numbers as YAML 1.2 and people read them. 010, 0x1f, 1e3 and true are not whole numbers here."""
    if isinstance(value, bool):
        raise refuse("must be a whole number")
    if isinstance(value, str) and not re.fullmatch(r"-?(0|[1-9][0-9]{0,17})", value, re.ASCII):
        hint = "a leading zero reads as octal in some programs" if re.fullmatch(r"0[0-9]+", value, re.ASCII) else ""
        raise refuse("must be a whole number", hint)
    return value


def flag(value: Any) -> Any:
    """A boolean, or a word for one."""
    if isinstance(value, bool):
        return value
    words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise refuse("must be true or false")


def duration(value: Any) -> Any:
    """A length of time with its unit, as a timedelta."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        raise refuse(
            "must be a length of time with its unit", f"write {value}s, {value}m, {value}h, {value}d or {value}y"
        )
    if not isinstance(value, str) or not re.fullmatch(DURATION, value, re.ASCII):
        raise refuse("must be a length of time such as 90d, 12h, 1h30m or 1y (units: s m h d w y)")
    seconds = sum(int(count) * UNITS[unit] for count, unit in re.findall(r"([0-9]+)([smhdwy])", value))
    if not 0 < seconds <= 100 * UNITS["y"]:
        raise refuse("must be longer than nothing and at most 100y")
    return timedelta(seconds=seconds)


def spell_duration(duration: timedelta) -> str:
    """The shortest spelling that reads back as the same duration."""
    left, text = int(duration.total_seconds()), ""
    for unit, seconds in sorted(UNITS.items(), key=lambda unit: -unit[1]):
        count, rest = divmod(left, seconds)
        if count and (rest == 0 or unit not in "yw"):
            text, left = f"{text}{count}{unit}", rest
    return text


def _mode(value: Any) -> Any:
    if isinstance(value, bool) or not re.fullmatch(r"0?[0-7]{3}|[0-7]{4}", str(value), re.ASCII):
        raise refuse("must be a mode in octal, such as 0644")
    return int(str(value), 8)


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise refuse("must be an IPv4 or IPv6 address, such as 192.0.2.10 or ::1") from None


def listen_address(text: str) -> str:
    """``*`` for every address, or one address."""
    if text in ("", "*"):
        return "*"
    if text == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise refuse("must be an address of this host, or '*' for all of them") from None


def _url(text: str) -> str:
    one_line(text)
    if not re.fullmatch(r"(https?://[A-Za-z0-9._:\[\]-]+|file:///)[\x21-\x7e]*", text, re.ASCII):
        if re.match(r"https?://[^/]*@", text):
            raise refuse(
                "must not carry a user name or password", "it would be copied into every package record", show=False
            )
        raise refuse("must be an address that begins with https://, http:// or file:///")
    return text.rstrip("/")


def _not_root(name: str) -> str:
    if name in {"root", "daemon", "bin", "sys", "nobody", "www-data", "mysql", "sshd", "messagebus", "systemd-network"}:
        raise refuse("must be an account of its own", "code in a notebook must not run as an account of the system")
    return name


Line = Annotated[str, AfterValidator(one_line), Field(json_schema_extra={"minLength": 1, "maxLength": 1000})]
"""One line of text without control characters."""
AbsolutePath = Annotated[str, AfterValidator(_path), Field(json_schema_extra={"pattern": "^/"})]
HomePath = Annotated[str, AfterValidator(_home_path), Field(json_schema_extra={"pattern": "^(/|~/)"})]
"""An absolute path, or ``~/...`` below the notebook account's home."""
Whole = Annotated[int, BeforeValidator(_whole)]
Flag = Annotated[bool, BeforeValidator(flag)]
Duration = Annotated[
    timedelta,
    BeforeValidator(duration),
    PlainSerializer(spell_duration, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": f"^{DURATION}$"}),
]
Mode = Annotated[
    int,
    BeforeValidator(_mode),
    PlainSerializer(lambda mode: f"{mode:04o}", when_used="json"),
    WithJsonSchema({"type": ["string", "integer"], "pattern": "^(0?[0-7]{3}|[0-7]{4})$", "title": "Octal mode"}),
]
"""Permission bits as a number (0o644), written in octal."""
Port = Annotated[Whole, Between(1, 65535)]
Address = Annotated[str, AfterValidator(_address)]
ListenAddress = Annotated[str, AfterValidator(listen_address)]
"""``*`` for every address, or one address."""
Url = Annotated[str, AfterValidator(_url)]

_LOGIN = Spelled(
    r"[a-z_][a-z0-9_-]{0,31}",
    "a login name such as 'notebook': small letters, digits, '_' and '-', a letter first, at most 32 characters",
    longest=10000,
)
LoginName = Annotated[str, _LOGIN]
NotebookName = Annotated[str, _LOGIN, AfterValidator(_not_root)]
GroupName = Annotated[
    str,
    Spelled(
        r"[a-z_][a-z0-9_-]{0,31}",
        "a group name such as 'research': small letters, digits, '_' and '-', a letter first, at most 32 characters",
        longest=10000,
    ),
]
DnsName = Annotated[
    str,
    Spelled(
        r"(?!.*\.[0-9]+$)(\*\.)?([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?",
        "a host name such as notebooks.example.org",
        "addresses go under 'addresses'; international names are written in their xn-- form",
        longest=253,
    ),
]
PackageName = Annotated[
    str,
    Spelled(
        r"[A-Za-z0-9][A-Za-z0-9+._-]{0,127}(:[a-z0-9]+)?",
        "the name of a distribution package, such as 'git'",
        "versions come from the distribution; pin them there",
    ),
]
UnitName = Annotated[
    str,
    Spelled(
        r"[A-Za-z0-9:_.\\-]+(@[A-Za-z0-9:_.\\-]*)?\.(service|socket|timer|path|mount|automount|target|slice|swap)",
        "the full name of a unit, such as 'backup.service' or 'backup.timer'",
    ),
]
