"""The verbs and their options."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from agent import VERSION
from agent.errors import UsageError
from agent.quiet import SPEC

EXITS = """exit status:
  0  as wanted                       5  another run holds the lock
  1  error                          64  bad usage
  2  changes pending, or degraded   65  bad spec
  3  some resources failed          75  temporary; try again
  4  unhealthy, rolled back
"""
_PATIENCE = "how long to wait for another run (default 60)"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"{self.prog} --help")


def _verb(verbs: Any, name: str, module: str, text: str, *, more: str = "") -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}. {more}".strip(), epilog=EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.set_defaults(module=module, verb=name)
    parser.add_argument("-v", "--verbose", action="store_true", help="say every step")
    parser.add_argument("-q", "--quiet", action="store_true", help="say only what is wrong")
    parser.add_argument("--color", choices=("auto", "always", "never"), default="auto", help="NO_COLOR is honoured")
    return parser


def _spec(parser: argparse.ArgumentParser, *, what: str = "the spec") -> None:
    parser.add_argument(
        "spec", nargs="?", default=SPEC, metavar="SPEC", help=f"{what} (default {SPEC}; drop-ins beside it in spec.d)"
    )


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON for programs")


def _scope(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--target",
        action="append",
        default=[],
        metavar="REF",
        help="only this resource (kind:name) or kind, and what it needs; may be repeated",
    )


def _loss(parser: argparse.ArgumentParser) -> None:
    allowed = "remove databases that left the spec and that the agent made, each after a dump to /var/lib/agent/dumps"
    parser.add_argument("--allow-data-loss", action="store_true", help=allowed)
    parser.add_argument("--no-dump", action="store_true", help="with --allow-data-loss: without a dump, for ever")


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = _Parser(
        prog="agent", description="Keeps this host in the state that one YAML file describes.", epilog=EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    top.add_argument("--version", action="version", version=f"agent {VERSION}")
    verbs = top.add_subparsers(title="verbs", metavar="VERB", required=True, parser_class=_Parser)
    _validate(verbs)
    _plan(verbs)
    _apply(verbs)
    _verify(verbs)
    _status(verbs)
    _daemon(verbs)
    _show(verbs)
    _secret(verbs)
    _import(verbs)
    _env(verbs)
    _cert(verbs)
    _doctor(verbs)
    _try(verbs)
    return top


def _validate(verbs: Any) -> None:
    validate = _verb(verbs, "validate", "look", "say everything that is wrong with a spec, and where")
    _spec(validate)
    _json(validate)


def _plan(verbs: Any) -> None:
    plan = _verb(verbs, "plan", "look", "show what apply would change", more="Changes nothing.")
    _spec(plan)
    _json(plan)
    _scope(plan)
    _loss(plan)
    plan.add_argument("--detailed-exitcode", action="store_true", help="exit with 2 when changes are pending")
    plan.add_argument("--diff", action="store_true", help="show the lines of files that would change")
    exactly = "save the plan; `agent apply FILE` makes exactly these changes or none"
    plan.add_argument("--out", metavar="FILE", help=exactly)


def _apply(verbs: Any) -> None:
    saved = "SPEC may also be a plan saved by `agent plan --out`."
    apply = _verb(verbs, "apply", "apply", "make the host match the spec", more=saved)
    _spec(apply, what="the spec or a saved plan")
    _json(apply)
    _scope(apply)
    _loss(apply)
    apply.add_argument("-y", "--yes", action="store_true", help="do not ask, even where a service is interrupted")
    apply.add_argument("--diff", action="store_true", help="show the lines of files that change, with the question")
    apply.add_argument("--lock-timeout", type=float, default=60.0, metavar="SECONDS", help=_PATIENCE)
    apply.add_argument("--retry", action="store_true", help="apply a spec that was rolled back once more")


def _verify(verbs: Any) -> None:
    text = "check that the host is as the spec wants it"
    verify = _verb(verbs, "verify", "look", text, more="Exits with 2 when it is not.")
    _spec(verify)
    _json(verify)
    _scope(verify)


def _status(verbs: Any) -> None:
    more = "Exits with 2 when something was not as wanted."
    _json(_verb(verbs, "status", "status", "show the last pass", more=more))


def _daemon(verbs: Any) -> None:
    more = "Runs until it is stopped; meant for agent.service."
    _spec(_verb(verbs, "daemon", "daemon", "keep the host as the spec wants it", more=more))


def _show(verbs: Any) -> None:
    more = "Secrets are shown as ********."
    render = _verb(verbs, "render", "look", "print a file as it would be written", more=more)
    _spec(render)
    render.add_argument("--path", metavar="FILE", help="which file; without it, the files there are")
    schema = _verb(verbs, "schema", "look", "print the JSON Schema of the spec")
    schema.add_argument("--status", action="store_true", help="that of the status document instead")
    completion = _verb(verbs, "completion", "completion", "print the completion script for bash")
    completion.add_argument("shell", nargs="?", default="bash", choices=("bash",))


def _cert(verbs: Any) -> None:
    text = "show the server's certificate: names, end, fingerprint, and the file to import"
    cert = _verb(verbs, "cert", "cert", text)
    _spec(cert)
    _json(cert)


def _env(verbs: Any) -> None:
    text = "look at environments, lock them, update them, go back to an older build"
    env = verbs.add_parser("env", help=text, description=f"{text[0].upper()}{text[1:]}.")
    actions = env.add_subparsers(title="actions", metavar="ACTION", required=True, parser_class=_Parser)
    listed = _action(actions, "list", "show every environment: build, packages, kernels, state")
    listed.add_argument("path", nargs="?", default=None, metavar="SPEC", help=f"the spec (default {SPEC})")
    listed.add_argument("--names", action="store_true", help="only the names that the spec has; needs no root")
    show = _action(actions, "show", "show everything about one environment")
    show.add_argument("names", nargs=1, metavar="NAME")
    lock = _action(actions, "lock", "write the exact packages of what is in force into the lock file beside the spec")
    _names(lock)
    lock.add_argument("--check", action="store_true", help="change nothing; exit with 2 when it says something else")
    update = _action(actions, "update", "take the newest packages that the spec allows, and show what differs first")
    _names(update)
    update.add_argument("-y", "--yes", action="store_true", help="do not ask")
    update.add_argument("--dry-run", action="store_true", help="only show what differs")
    back = _action(actions, "rollback", "go back to an older build, and stay there")
    back.add_argument("names", nargs=1, metavar="NAME")
    back.add_argument("--to", default="", metavar="BUILD", help="which one, or how it begins (default: the one before)")
    clean = _action(actions, "clean", "take away old builds and unused packages in the cache")
    _names(clean)
    clean.add_argument("--keep", type=_number, metavar="N", help="old builds to keep (default: conda.keep of the spec)")
    clean.add_argument("--dry-run", action="store_true", help="only say what would go")


def _action(actions: Any, name: str, text: str) -> argparse.ArgumentParser:
    action = _verb(actions, name, "env", text)
    action.set_defaults(verb="env", action=name)
    _json(action)
    action.add_argument("--spec", default=SPEC, metavar="SPEC", help=f"the spec (default {SPEC})")
    if name not in ("list", "show"):
        action.add_argument("--lock-timeout", type=float, default=60.0, metavar="SECONDS", help=_PATIENCE)
    return action


def _names(action: argparse.ArgumentParser) -> None:
    action.add_argument("names", nargs="*", metavar="NAME", help="environments (default: all)")


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a number of builds, such as 1, got {text!r}")
    return int(text)


def _doctor(verbs: Any) -> None:
    doctor = _verb(verbs, "doctor", "doctor", "look for what commonly stands in the way, and say the way out")
    _spec(doctor)
    _json(doctor)


def _secret(verbs: Any) -> None:
    secret = _verb(verbs, "secret", "secret", "list, show, set or rotate the secrets that the agent keeps")
    secret.add_argument(
        "action",
        choices=("list", "show", "set", "rotate"),
        help="set asks for the value, or reads it from standard input; rotate makes a new one and puts it in force",
    )
    secret.add_argument("name", nargs="?", help="such as jupyter.password, or for rotate a database account")
    secret.add_argument("--disconnect", action="store_true", help="rotate: end the account's sessions afterwards")
    secret.add_argument(
        "-y", "--yes", action="store_true", help="rotate: do not ask, even where a service is restarted"
    )
    secret.add_argument("--spec", default=SPEC, metavar="SPEC", help=f"rotate: the spec (default {SPEC})")
    secret.add_argument("--lock-timeout", type=float, default=60.0, metavar="SECONDS", help=_PATIENCE)


def _import(verbs: Any) -> None:
    text = "print the spec of what a database server has already"
    more = "Without secrets. Changes nothing."
    found = _verb(verbs, "import", "imports", text, more=more)
    found.set_defaults(verb="import_mysql")
    found.add_argument("what", choices=("mysql",), help="a MariaDB or MySQL server")
    found.add_argument("--socket", metavar="FILE", help="its socket (default: that of the server of this host)")
    found.add_argument("--host", metavar="NAME", help="its name or address, for one elsewhere")
    found.add_argument("--port", type=int, default=3306, help="its port (default 3306)")
    tls = (
        "authorities that its certificate may be from (default: the system's); 'no' talks in clear, to this host alone"
    )
    found.add_argument("--tls", metavar="FILE", help=tls)
    found.add_argument("--user", metavar="NAME", help="the administrator to log in as (default: root, by the socket)")
    found.add_argument(
        "--password-file", metavar="FILE", help="where its password is; only root may be able to read it"
    )


def _try(verbs: Any) -> None:
    attempt = _verb(
        verbs,
        "try",
        "attempt",
        "apply a spec in a throw-away host and open its Jupyter server here",
        more="Leaves nothing behind.",
    )
    attempt.add_argument("spec", metavar="SPEC")
    attempt.add_argument("--once", action="store_true", help="apply, check, and end")
    attempt.add_argument(
        "--suite", default="bookworm", choices=("bookworm", "trixie"), help="the Debian release of the host"
    )
    attempt.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: the spec's if free)")
    attempt.add_argument(
        "--mirror",
        action="append",
        default=[],
        metavar="CHANNEL=URL",
        help="take a conda channel's packages from this address or directory",
    )


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The options, with ``run`` set to the verb's function. Raises UsageError."""
    import importlib

    options = parser().parse_args(words)
    options.run = getattr(
        importlib.import_module(f"agent.cli.{options.module}"), options.verb.replace("try", "attempt")
    )
    return options
