"""What the models look like from outside: which fields stand where, and which one was probably meant."""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from .spec import Spec
from .tree import Keys

SYNONYMS = {
    "ip": "address",
    "token": "password",
    "pass": "password",
    "pw": "password",
    "bind": "address",
    "host": "address",
    "notebook_dir": "root_dir",
    "directory": "root_dir",
    "certfile": "certificate",
    "keyfile": "key",
    "cert": "certificate",
    "san": "names",
    "domains": "names",
    "envs": "environments",
    "dependencies": "packages",
    "specs": "packages",
    "kernels": "kernel",
    "username": "name",
    "privileges": "grants",
    "privs": "grants",
    "ssh_authorized_keys": "authorized_keys",
    "memory": "memory_max",
    "cpu": "cpu_quota",
    "character_set": "charset",
    "encoding": "charset",
    "accounts": "users",
    "permissions": "mode",
    "text": "content",
    "days": "lifetime",
    "idle": "cull",
    "traits": "settings",
    "config": "settings",
    "ssl": "tls",
    "https": "tls",
    "mariadb": "mysql",
    "database": "mysql",
    "notebook": "jupyter",
    "miniconda": "conda",
    "python": "conda",
    "services": "units",
    "apt": "packages",
}
"""What other tools call it."""


def model_at(keys: Keys) -> type[BaseModel] | None:
    """The model whose fields may stand below these keys; None where there is none."""
    annotation: Any = Spec
    for key in keys:
        annotation = _inner(annotation)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            field = annotation.model_fields.get(str(key))
            if field is None:
                return None
            annotation = field.annotation
        elif get_origin(annotation) in (Mapping, dict):
            annotation = get_args(annotation)[1]
        elif get_origin(annotation) is tuple:
            annotation = get_args(annotation)[0]
        else:
            return None
    annotation = _inner(annotation)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _inner(annotation: Any) -> Any:
    """Without Annotated, and without the None of an optional field."""
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation = get_args(annotation)[0]
        elif origin in (Union, types.UnionType):
            annotation = next(part for part in get_args(annotation) if part is not type(None))
        else:
            return annotation


@cache
def everywhere() -> Mapping[str, tuple[str, ...]]:
    """For each field's name the places it has, as dotted paths; what people name themselves stands as NAME."""
    found: dict[str, list[str]] = {}
    for path in _paths(Spec, ""):
        found.setdefault(path.rpartition(".")[2], []).append(path)
    return {name: tuple(paths) for name, paths in found.items()}


def _paths(annotation: Any, above: str) -> Iterator[str]:
    annotation = _inner(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            path = f"{above}.{name}".removeprefix(".")
            yield path
            yield from _paths(field.annotation, path)
    elif get_origin(annotation) in (Mapping, dict):
        yield from _paths(get_args(annotation)[1], f"{above}.NAME")


def meant(keys: Keys) -> str:
    """A hint for a key that is not a field: the nearest one here, else one of that name elsewhere, else all."""
    name, model = str(keys[-1]), model_at(keys[:-1])
    fields = list(model.model_fields) if model else []
    wanted = name.replace("-", "_").lower()
    if near := nearest(wanted, fields):
        return f"did you mean '{near}'?"
    if re.fullmatch(r"[A-Z]\w+\.\w+", name):
        return "traits go under jupyter.settings"
    if SYNONYMS.get(wanted) in fields:
        return f"did you mean '{SYNONYMS[wanted]}'?"
    elsewhere = everywhere()
    for other in (wanted, SYNONYMS.get(wanted, wanted), nearest(wanted, list(elsewhere), 0.85)):
        if paths := elsewhere.get(other):
            return f"did you mean {' or '.join(paths[:3])}?"
    return f"what may stand here: {', '.join(fields)}" if fields else ""


def nearest(word: str, choices: list[str], cutoff: float = 0.7) -> str:
    """The choice that was probably meant; empty if none is close."""
    small = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(word.lower()[:100], small, n=1, cutoff=cutoff)
    return small[near[0]] if near else ""
