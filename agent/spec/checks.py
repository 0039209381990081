"""Questions that need more than one field, with the place of the field to change.

A section that is not there, or not right in itself, is None and is not asked.
"""

from __future__ import annotations

from collections.abc import Iterator

from .checks_conda import check_conda, note_conda
from .checks_files import check_files, check_units
from .checks_mysql import check_mysql
from .explain import Finding
from .sections.conda import Conda
from .sections.jupyter import Jupyter
from .sections.tls import Tls
from .sections.traits import refused_trait
from .sections.user import User
from .shape import nearest
from .spec import SERVER_ENVIRONMENT, Spec
from .tree import Node

INTERFACES = {"lab": "jupyterlab", "notebook": "notebook"}
ROOT_LIKE = ("sudo", "wheel", "docker", "lxd", "incus", "root", "disk", "shadow", "adm", "libvirt")


def check(spec: Spec, tree: Node) -> Iterator[Finding]:
    """Everything that is wrong between fields and sections."""
    if spec.conda:
        yield from check_conda(spec.conda)
    if spec.jupyter:
        yield from _jupyter(spec.jupyter)
    if spec.jupyter and spec.conda:
        yield from _server(spec, spec.jupyter, spec.conda)
    if spec.mysql:
        yield from check_mysql(spec, spec.mysql, tree)
    yield from check_files(spec)
    yield from check_units(spec)


def notes(spec: Spec) -> Iterator[Finding]:
    """What is allowed but worth saying, of a spec that is right."""
    if spec.user:
        yield from _note_user(spec.user)
    if spec.jupyter:
        yield from _note_jupyter(spec.jupyter, spec.tls)
    if spec.conda:
        yield from note_conda(spec.conda)
    for account in spec.mysql.users if spec.mysql else ():
        host = account.partition("@")[2]
        local = host in ("localhost", "127.0.0.1", "::1")
        if (
            spec.mysql
            and not local
            and spec.mysql.server != "external"
            and spec.mysql.bind_address in ("127.0.0.1", "::1")
        ):
            yield Finding(
                ("mysql", "users", account),
                f"cannot connect from {host}: the server listens on {spec.mysql.bind_address} only",
                "set mysql.bind_address if other hosts should reach it",
                at_key=True,
            )


def _jupyter(jupyter: Jupyter) -> Iterator[Finding]:
    for trait, value in jupyter.settings.items():
        if refusal := refused_trait(trait, value):
            message, hint = refusal
            yield Finding(("jupyter", "settings", trait), message, hint, at_key=True)
    if jupyter.cull.idle_timeout is None:
        for name in sorted(jupyter.cull.model_fields_set - {"idle_timeout"}):
            yield Finding(("jupyter", "cull", name), "says how to stop idle kernels, but not when", "add idle_timeout")


def _server(spec: Spec, jupyter: Jupyter, conda: Conda) -> Iterator[Finding]:
    """The environment that the server runs from: one, declared, with the server in it."""
    declared = conda.environments
    marked = [name for name, environment in declared.items() if environment.server]
    for name in marked[1:]:
        yield Finding(("conda", "environments", name, "server"), f"is a second server environment, after {marked[0]}")
    if jupyter.environment and marked and marked[0] != jupyter.environment:
        yield Finding(
            ("jupyter", "environment"), f"names another environment than the one with 'server: true', {marked[0]}"
        )
    if jupyter.environment and jupyter.environment not in {*declared, SERVER_ENVIRONMENT}:
        near = nearest(jupyter.environment, list(declared))
        hint = f"did you mean '{near}'?" if near else f"declared are: {', '.join(declared) or 'none'}"
        yield Finding(("jupyter", "environment"), "is not declared under conda.environments", hint)
        return
    name, environment = spec.server_environment()
    if name not in declared or environment.unread:
        return
    wanted, keys = INTERFACES[jupyter.interface], ("conda", "environments", name)
    if not (environment.has(wanted) or environment.has("jupyter")):
        why = f"the Jupyter server runs from it with 'interface: {jupyter.interface}'"
        yield Finding(
            (*keys, "packages"), f"needs {wanted}: {why}", f"add {wanted}, or set jupyter.interface", at_key=True
        )
    if (environment.pinned_python() or "").startswith("2"):
        yield Finding(
            (*keys, "packages"), "asks for Python 2, which current servers do not run on",
            "let the server run from another environment; this one can still offer a kernel", at_key=True,
        )  # fmt: skip


def _note_user(user: User) -> Iterator[Finding]:
    for index, group in enumerate(user.groups or ()):
        if group in ROOT_LIKE:
            message = "lets every notebook become root, or read what only root should"
            yield Finding(("user", "groups", index), message)


def _note_jupyter(jupyter: Jupyter, tls: Tls | None) -> Iterator[Finding]:
    if jupyter.port < 1024:
        yield Finding(("jupyter", "port"), "is below 1024; the unit gets CAP_NET_BIND_SERVICE for it, and nothing else")
    if not jupyter.sandbox.enabled:
        yield Finding(("jupyter", "sandbox"), "is off: code in notebooks reaches everything that its account reaches")
    addresses = tls.addresses if tls else None
    if addresses is not None and jupyter.address != "*" and jupyter.address not in addresses:
        yield Finding(("tls", "addresses"), f"does not have {jupyter.address}, which the server listens on")
