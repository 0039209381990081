"""What `mysql.settings` and `mysql.extra_settings` may hold: known variables with values that fit, others unless they open the server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agent.host.database_variables import KNOWN, Unfit

from .explain import Finding
from .sections.mysql import Mysql
from .sections.mysql_settings import NOWHERE
from .shape import nearest
from .tree import Keys

OWN = {
    "port": "mysql.port",
    "bind_address": "mysql.bind_address",
    "skip_networking": f"mysql.bind_address, with the value '{NOWHERE}'",
    "socket": "mysql.socket",
}
REFUSED: Mapping[str, str] = {
    "skip_grant_tables": "everyone who reaches the server would own it",
    "init_file": "the server would run its statements as the database's root",
    "plugin_load": "the server would load a program of someone else's",
    "plugin_load_add": "the server would load a program of someone else's",
    "plugin_dir": "the server would load a program of someone else's",
    "user": "the server runs as the account of the distribution's package",
    "datadir": "databases stay where the distribution keeps them; moving them is not an edit of a setting",
    "pid_file": "the distribution's unit waits for the one it knows",
}
SWITCHES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "local_infile": (("ON", "1", "TRUE"), "a statement could read any file of the client that sends it"),
    "general_log": (("ON", "1", "TRUE"), "it would write passwords into a file in clear"),
    "secure_auth": (("OFF", "0", "FALSE"), "it would take passwords in the form of 1990s servers"),
    "old_passwords": (("ON", "1", "TRUE"), "it would keep passwords in the form of 1990s servers"),
    "allow_suspicious_udfs": (("ON", "1", "TRUE"), "the server would load a program of someone else's"),
    "secure_file_priv": (("",), "statements could write files anywhere"),
}
_PREFIXES = ("loose_", "enable_", "maximum_")
"""What an option file may put before a name; the option is the same (loose_: and forgotten where the server does not know it)."""


def check_settings(mysql: Mysql) -> Iterator[Finding]:
    """Everything that is wrong with them."""
    for name, text in mysql.settings.items():
        keys: Keys = ("mysql", "settings", name)
        refusal = _refusal(keys, name, text)
        if refusal:
            yield refusal
        elif name not in KNOWN or not KNOWN[name].taken(mysql.server):
            yield Finding(keys, _unknown(name, mysql.server), _meant(name, mysql.server), at_key=True)
        else:
            try:
                KNOWN[name].form.read(text)
            except Unfit as unfit:
                near = nearest(unfit.word.upper(), [choice.upper() for choice in unfit.choices])
                hint = f"did you mean '{near}'?" if near else ""
                yield Finding(keys, f"must be {unfit}, got {(unfit.word or text)!a}", hint)
    yield from _character_set(mysql)
    for name, text in mysql.extra_settings.items():
        keys = ("mysql", "extra_settings", name)
        refusal = _refusal(keys, name, text)
        if refusal:
            yield refusal
        elif _plain(name) in KNOWN and KNOWN[_plain(name)].taken(mysql.server):
            yield Finding(
                keys, "is a variable that is known", f"put it under mysql.settings as {_plain(name)}", at_key=True
            )


def _character_set(mysql: Mysql) -> Iterator[Finding]:
    """A server does not start with a character set and a collation of another, and the distribution's option files have both."""
    charset, collation = mysql.settings.get("character_set_server"), mysql.settings.get("collation_server")
    if charset and not collation:
        yield Finding(
            ("mysql", "settings", "character_set_server"), "goes with collation_server", "add one of it", at_key=True
        )
    elif collation and not charset:
        yield Finding(
            ("mysql", "settings", "collation_server"), "goes with character_set_server", "add its own", at_key=True
        )
    elif charset and collation and collation != "binary" and not collation.startswith(f"{charset}_"):
        yield Finding(("mysql", "settings", "collation_server"), f"must belong to {charset}, got {collation!a}")


def _refusal(keys: Keys, name: str, text: str) -> Finding | None:
    plain = _plain(name)
    # a server takes the beginning of an option's name for the whole, where no other begins so
    full = next((refused for refused in REFUSED if refused.startswith(plain)), plain)
    if plain in OWN:
        return Finding(keys, f"has a field of its own: {OWN[plain]}", "set it there", at_key=True)
    if full in REFUSED:
        short = "" if full == name else f"means {full}, which "
        return Finding(keys, f"{short}is refused: {REFUSED[full]}", at_key=True)
    if plain in SWITCHES and text.upper() in SWITCHES[plain][0]:
        return Finding(keys, f"is refused with this value: {SWITCHES[plain][1]}", at_key=True)
    return None


def _plain(name: str) -> str:
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            return _plain(name.removeprefix(prefix))
    return name


def _unknown(name: str, server: str) -> str:
    names = {"mariadb": "MariaDB", "mysql": "MySQL"}
    other = next((words for each, words in names.items() if name in KNOWN and KNOWN[name].taken(each)), "")
    return f"is a variable of {other}, not of {names[server]}" if other else "is not a variable that is known here"


def _meant(name: str, server: str) -> str:
    if name in KNOWN:
        return ""
    near = nearest(name, [each for each, variable in KNOWN.items() if variable.taken(server)])
    return f"did you mean '{near}'?" if near else "put it under mysql.extra_settings, where values are not checked"
