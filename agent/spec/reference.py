"""The manual of the spec, made from the models: `python -m agent.spec.reference > docs/spec.md`, and with `--schema`
the JSON Schema for `docs/spec.schema.json`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from agent.host.database_variables import KNOWN, LIVE, RESTART, UNKNOWN

from .schema import spec_schema
from .schema import text as schema_text
from .sections.traits import CLASSES, FIELDS, FIXED, FORBIDDEN

INTRODUCTION = """\
# The spec

<!-- Made from the models by `python -m agent.spec.reference`; change those, not this page. -->

One YAML file says what the host should be: `/etc/agent/spec.yaml`. Every section is optional, and every field has a
default that a careful person would choose; the examples in [`examples/`](../examples) are a good start. `agent validate`
reports everything that is wrong at once, with the place, and changes nothing. Editors that know
[`spec.schema.json`](spec.schema.json) complete fields and explain them; the examples name it in their first line.

## Files

`/etc/agent/spec.yaml` comes first, then `/etc/agent/spec.d/*.yaml` in the order of their names. They are merged:

* mappings key by key, however deep. Whatever has a name (environments, databases, accounts, files, units) is a mapping
  keyed by it, so a drop-in adds to the environment `analysis` by writing `conda: {environments: {analysis: ...}}`;
* lists are joined, and what is in a list already is not repeated;
* for anything else the later file wins. `null` sets an optional field back to its default.

A spec, or a directory above it, that someone other than root can write is refused by `agent apply`, and so is a symbolic
link or anything over 256 KiB. The same goes for what stands beside it and may be larger: the files that environments name, and
the lock file.

## Environments from files, and locked ones

`file: environment.yml` takes an environment's packages from a file. A relative path begins in the directory of
`/etc/agent/spec.yaml`. What it is can be told from what is in it:

| written | meaning |
|---|---|
| a mapping with `dependencies` | conda's environment.yml: `channels`, `dependencies` with a `pip:` list, and `variables`; its name does not matter |
| a list that begins with `@EXPLICIT` | exactly these packages, by address, as `conda list --explicit --sha256` writes it |
| `version`, `environments` and `packages` | a lock file of rattler or pixi: exactly its packages of the environment of this name, or `default` |

`agent env lock` writes `/etc/agent/spec.lock` beside `/etc/agent/spec.yaml`: every package of every environment with its hash.
An environment that is in it is made of exactly these packages, without any choice, and is the same on every host. When its
packages, channels, variables or activation change in the spec, nothing is applied until `agent env update NAME` has written
its entry anew.

## Writing it

Text is what you wrote. Of all plain words only `true`, `false`, `null` and whole decimal numbers have a meaning:
`3.10` stays 3.10, a password of `0123` keeps its zero, `no` is a word (and means false where true or false is asked for).
Anchors, aliases, tags, merge keys and second documents are refused; so are two keys of one name.

Lengths of time are written with their unit: `90d`, `12h`, `1h30m`, `1y`. Modes are octal: `0644`.

## Secrets

Wherever a password is asked for, say where it is:

| written | meaning |
|---|---|
| `{file: /etc/agent/secrets/analyst}` | the first line of a file that only root can read |
| `{credential: mysql.analyst}` | a systemd credential (`LoadCredential=`, `systemd-creds`) |
| `{generate: {length: 24}}`, or `generate` | the agent makes one up once; `agent secret show` prints it |

A password in clear is refused: user-data, backups and editors would keep it. The Jupyter password may also be given as
the hash that `jupyter server password` writes.
"""


def reference() -> str:
    """The whole page."""
    schema = spec_schema()
    parts = [INTRODUCTION]
    for name, field in schema["properties"].items():
        parts.append(f"## `{name}`\n")
        parts += _field_page(name, field, schema["$defs"])
        if name == "jupyter":
            parts.append(_traits())
        if name == "mysql":
            parts.append(_variables())
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _field_page(path: str, field: dict[str, Any], definitions: dict[str, Any]) -> Iterator[str]:
    """A section, or a field that is a mapping or a list of its own at the top."""
    model = _model(field, definitions)
    text = (model or field).get("description") or field.get("description", "")
    yield text if model is None or path != "packages" else field["description"]
    named = model is not None and not _is_direct(field)
    if model is None:
        yield f"{_kind(field, definitions)}.{_example(path, field)}"
        return
    yield from _table(f"{path}.NAME" if named else path, model, definitions)


def _table(path: str, model: dict[str, Any], definitions: dict[str, Any]) -> Iterator[str]:
    required = model.get("required", [])
    rows = ["| field | | default |", "|---|---|---|"]
    nested = []
    for name, field in model["properties"].items():
        default = "**required**" if name in required else _default(field)
        text = field.get("description", "").replace("|", "\\|")
        examples = ", ".join(f"`{_inline(example)}`" for example in field.get("examples", ()))
        shown = f"<br>Such as {examples}" if examples else ""
        rows.append(f"| `{name}` | {text}<br>*{_kind(field, definitions)}*{shown} | {default} |")
        inner = _model(field, definitions)
        if inner is not None:
            nested.append((f"{path}.{name}" + ("" if _is_direct(field) else ".NAME"), inner))
    yield "\n".join(rows)
    for inner_path, inner in nested:
        if inner["title"] in ("secret", "generate"):
            continue  # the page has a chapter on them
        yield f"### `{inner_path}`\n\n{inner.get('description', '')}"
        yield from _table(inner_path, inner, definitions)


def _parts(field: dict[str, Any]) -> list[dict[str, Any]]:
    return [part for part in field.get("anyOf", [field]) if part.get("type") != "null"]


def _is_direct(field: dict[str, Any]) -> bool:
    return any("$ref" in part for part in _parts(field))


def _model(field: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any] | None:
    """The model that stands in a field, by itself or under names."""
    for part in _parts(field):
        values = [part, part.get("additionalProperties"), *part.get("patternProperties", {}).values()]
        for value in values:
            for each in _parts(value) if isinstance(value, dict) else ():
                found: dict[str, Any] = definitions.get(each.get("$ref", "").rpartition("/")[2], {})
                if "properties" in found:
                    return found
    return None


def _kind(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    """What may be written, in a few words."""
    if "enum" in field:
        return "one of " + ", ".join(map(str, field["enum"])) if len(field["enum"]) < 8 else "a privilege"
    kinds = [_one_kind(part, definitions) for part in _parts(field)]
    return " or ".join(dict.fromkeys(kinds))


def _one_kind(part: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "enum" in part:
        return _kind({"enum": part["enum"]}, definitions)
    if "const" in part:
        return str(part["const"]).lower()
    if "$ref" in part:
        title = definitions[part["$ref"].rpartition("/")[2]]["title"]
        return "where it is" if "secret" in title or "password" in title else "mapping"
    kind = part.get("type")
    if isinstance(kind, list):
        return "octal"
    if kind == "array":
        return f"list of {_kind(part.get('items', {}), definitions)}"
    words = {
        "string": "text",
        "integer": "whole number",
        "boolean": "true or false",
        "object": "mapping",
        None: "any value",
    }
    return "length of time" if "smhdwy" in part.get("pattern", "") else words.get(kind, str(kind))


def _default(field: dict[str, Any]) -> str:
    default = field.get("default")
    return "" if default in (None, [], {}) else f"`{_inline(default)}`"


def _example(path: str, field: dict[str, Any]) -> str:
    examples = field.get("examples")
    return f" Such as `{path}: {_inline(examples[0])}`" if examples else ""


def _inline(value: Any) -> str:
    """As it would be written in one line of YAML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_inline(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    if isinstance(value, str) and ("\n" in value or value[:1] in ("*", "%", "@", "`") or not value):
        return json.dumps(value)
    return json.dumps(value) if not isinstance(value, str) else value


def _traits() -> str:
    """What `jupyter.settings` does not take."""
    rows = ["### What `settings` does not take", "", "| trait | why |", "|---|---|"]
    rows += [f"| `{name}` | set it with `{field}` |" for name, field in FIELDS.items()]
    rows += [f"| `{name}` | {why} |" for name, why in {**FIXED, **CLASSES}.items()]
    rows += [f"| `{name}: {json.dumps(value)}` | {why} |" for name, (value, why) in FORBIDDEN.items()]
    return "\n".join(rows)


def _variables() -> str:
    """What `mysql.settings` takes."""
    rows = ["### What `settings` takes", "", "| variable | value | MariaDB | MySQL |", "|---|---|---|---|"]
    taken = {LIVE: "at once", RESTART: "restart", UNKNOWN: "-"}
    for name, each in KNOWN.items():
        rows.append(f"| `{name}` | {each.form.must} | {taken[each.mariadb]} | {taken[each.mysql]} |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.stdout.write(schema_text() if "--schema" in sys.argv[1:] else reference())
