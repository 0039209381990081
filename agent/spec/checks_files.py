"""That every path and every unit has one owner, and that references between them lead somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .explain import Finding
from .shape import nearest
from .spec import Spec
from .tree import Keys

UNIT_DIRECTORY = "/etc/systemd/system/"
OWN_UNITS = re.compile(r"(agent(-[a-z]+)?|jupyter)\.(service|timer|path|socket)")
BASE_FILES = ("/etc/conda/.condarc", "/etc/profile.d/agent-conda.sh")
DATABASE_UNITS = ("mariadb.service", "mysql.service", "mysqld.service")


def check_files(spec: Spec) -> Iterator[Finding]:
    """Two owners of one path, and a path below something that is a file."""
    owned = dict(_owned(spec))
    plain_files = {path for path, file in spec.files.items() if not file.directory}
    for path in spec.files:
        keys: Keys = ("files", path)
        if path in owned:
            yield Finding(keys, f"belongs to {owned[path]} already", "one of them has to go", at_key=True)
        for above in _parents(path):
            if above in plain_files:
                yield Finding(keys, f"is below {above}, which is a file here", at_key=True)
            if owned.get(above) == "conda.root":
                yield Finding(keys, f"is below conda.root, {above}, whose content conda's packages are", at_key=True)


def _owned(spec: Spec) -> Iterator[tuple[str, str]]:
    """Paths that other sections own, with the field that does."""
    if spec.tls and spec.tls.certificate and spec.tls.key:
        yield spec.tls.certificate, "tls.certificate"
        yield spec.tls.key, "tls.key"
    if spec.conda:
        yield spec.conda.root, "conda.root"
        if spec.conda.base:
            yield from ((path, "conda.base") for path in BASE_FILES)
    if spec.user:
        yield spec.user.directory, "user.home"
        if spec.jupyter:
            yield spec.user.below_home(spec.jupyter.root_dir), "jupyter.root_dir"
        if spec.mysql and spec.mysql.client_file.write and spec.mysql.users:
            yield spec.user.below_home(spec.mysql.client_file.path), "mysql.client_file"
    for name, unit in spec.units.items():
        if unit.content is not None:
            yield UNIT_DIRECTORY + name, f"units.{name}"


def _parents(path: str) -> Iterator[str]:
    while (path := path.rpartition("/")[0]) != "":
        yield path


def check_units(spec: Spec) -> Iterator[Finding]:
    """Units of other sections, templates without an instance, and references that lead nowhere."""
    for name, unit in spec.units.items():
        keys: Keys = ("units", name)
        if OWN_UNITS.fullmatch(name):
            yield Finding(keys, "is a unit of the agent's own", "jupyter's is described under 'jupyter'", at_key=True)
        if spec.mysql and spec.mysql.server != "external" and name in DATABASE_UNITS:
            yield Finding(keys, "is the database server's unit, which the mysql section keeps", at_key=True)
        if "@." in name and (unit.active is not None or unit.enabled is not None):
            yield Finding(
                keys, "is a template; an instance of it can be enabled or active", "name one: backup@daily.service",
                at_key=True,
            )  # fmt: skip
        for index, ref in enumerate(unit.restart_on):
            yield from _reference(spec, (*keys, "restart_on", index), name, ref)


def _reference(spec: Spec, keys: Keys, unit: str, ref: str) -> Iterator[Finding]:
    kind, _, name = ref.partition(":")
    declared = {"file": list(spec.files), "package": list(spec.packages), "unit": list(spec.units)}.get(kind)
    if ref == f"unit:{unit}":
        yield Finding(keys, "is the unit itself")
    elif declared is not None and name not in declared:
        near = nearest(name, declared)
        hint = f"did you mean '{kind}:{near}'?" if near else f"declare it under '{kind}s'"
        yield Finding(keys, f"is not declared under '{kind}s'", hint)
