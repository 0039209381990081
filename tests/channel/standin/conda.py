#!/usr/bin/env python3
"""Stands in for conda where no release of it can be had. For tests.

It reads the same files (.condarc, conda-meta, etc/conda) as conda does, says the same about environments, activates them
as conda does, and installs nothing: where conda would refuse to change an environment it refuses with the same words.
"""

import argparse
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator

VERSION = "26.7.1"
BASE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CHANGING = ("create", "install", "remove", "uninstall", "update", "upgrade")


def main() -> None:
    """Does what the command line says."""
    if sys.argv[1:2] == ["shell.posix"]:
        print("\n".join(shell(sys.argv[2:])))
        return
    parser = argparse.ArgumentParser(prog="conda", description="A stand-in for conda.")
    parser.add_argument("--version", action="version", version=f"conda {VERSION}")
    verbs = parser.add_subparsers(dest="verb", required=True)
    info = verbs.add_parser("info")
    info.add_argument("--base", action="store_true")
    info.add_argument("--envs", action="store_true")
    config = verbs.add_parser("config")
    config.add_argument("--show", nargs="*")
    config.add_argument("--show-sources", action="store_true")
    environments = verbs.add_parser("env").add_subparsers(dest="env_verb", required=True).add_parser("list")
    packages = verbs.add_parser("list")
    for each in (info, config, environments, packages):
        each.add_argument("--json", action="store_true")
    for each in (packages, *(verbs.add_parser(verb) for verb in CHANGING)):
        each.add_argument("-n", "--name")
        each.add_argument("-p", "--prefix")
        each.add_argument("-y", "--yes", action="store_true")
        each.add_argument("words", nargs="*")
    arguments = parser.parse_args()
    if arguments.verb in CHANGING:
        change(arguments)
    say = {"info": show_info, "config": show_config, "env": show_environments, "list": show_packages}
    say[arguments.verb](arguments)


def sources() -> list[str]:
    """The files of settings that are there, the weakest first."""
    places = ("/etc/conda/.condarc", "/etc/conda/condarc", f"{BASE}/.condarc", os.path.expanduser("~/.condarc"))
    return [path for path in places if os.path.exists(path)]


def settings(path: str) -> dict[str, list[str]]:
    """Top-level keys of simple YAML: a word or a list of words each."""
    found: dict[str, list[str]] = {}
    words: list[str] = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            if key := re.match(r"(\w+):\s*(.*)", line):
                words = found.setdefault(key[1], [])
                words += [bare(word) for word in key[2].strip("[] \n").split(",") if word.strip() and word[0] != "#"]
            elif entry := re.match(r"\s*-\s*(.+)", line):
                words.append(bare(entry[1]))
    return found


def bare(word: str) -> str:
    """Without blanks and quotes."""
    return word.strip().strip("'\"")


def setting(key: str, default: list[str]) -> list[str]:
    """A list of words from all files of settings, those of the strongest first."""
    found = [word for path in reversed(sources()) for word in settings(path).get(key, [])]
    return list(dict.fromkeys(found)) or default


def prefixes() -> list[str]:
    """The base environment, and every directory of environments' that is one."""
    found = [BASE]
    for directory in map(os.path.expanduser, setting("envs_dirs", [f"{BASE}/envs", "~/.conda/envs"])):
        names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
        found += [f"{directory}/{name}" for name in names if os.path.isfile(f"{directory}/{name}/conda-meta/history")]
    return found


def located(name: str) -> str:
    """The prefix that a name or a path stands for; ends the program where there is none."""
    if name in ("", "base", "root"):
        return BASE
    found = os.path.abspath(name) if "/" in name else next((p for p in prefixes()[1:] if p.endswith(f"/{name}")), "")
    if not found or not os.path.isdir(f"{found}/conda-meta"):
        print(f"\nEnvironmentNameNotFound: Could not find conda environment: {name}\n", file=sys.stderr)
        sys.exit(1)
    return found


def chosen(arguments: argparse.Namespace) -> str:
    """The environment that is meant: by path, by name, the active one, the base."""
    return located(arguments.prefix or arguments.name or os.environ.get("CONDA_PREFIX", ""))


def show_info(arguments: argparse.Namespace) -> None:
    if arguments.base:
        print(BASE)
    elif arguments.envs:
        show_environments(arguments)
    else:
        facts = {
            "active_prefix": os.environ.get("CONDA_PREFIX"),
            "channels": setting("channels", ["defaults"]),
            "conda_version": VERSION,
            "config_files": sources(),
            "envs": prefixes(),
            "root_prefix": BASE,
        }
        shown = [f"{name} : {value}" for name, value in facts.items()]
        print(json.dumps(facts, indent=2) if arguments.json else "\n".join(shown))


def show_config(arguments: argparse.Namespace) -> None:
    if arguments.show_sources:
        found = {path: settings(path) for path in sources()}
    else:
        found = {"": {key: setting(key, []) for key in arguments.show or ["channels", "envs_dirs"]}}
    if arguments.json:
        print(json.dumps(found if arguments.show_sources else found[""]))
        return
    for path, keys in found.items():
        print(*([f"==> {path} <=="] if path else []), *(f"{key}: {words}" for key, words in keys.items()), sep="\n")


def show_environments(arguments: argparse.Namespace) -> None:
    if arguments.json:
        print(json.dumps({"envs": prefixes()}, indent=2))
        return
    print("# conda environments:\n#")
    for prefix in prefixes():
        name = "base" if prefix == BASE else os.path.basename(prefix)
        print(f"{name:<24} {'*' if prefix == os.environ.get('CONDA_PREFIX') else ' '} {prefix}")


def show_packages(arguments: argparse.Namespace) -> None:
    prefix = chosen(arguments)
    names = sorted(name for name in os.listdir(f"{prefix}/conda-meta") if name.endswith(".json"))
    found = []
    for name in names:
        with open(f"{prefix}/conda-meta/{name}", encoding="utf-8") as file:
            record = json.load(file)
        found.append({key: record.get(key) for key in ("name", "version", "build_string", "build", "channel")})
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    print(f"# packages in environment at {prefix}:\n#")
    for each in found:
        print(f"{each['name']:<24} {each['version']:<12} {each['build']}")


def change(arguments: argparse.Namespace) -> None:
    """Never does it; says why, as conda does for an environment with conda-meta/frozen (CEP 22)."""
    prefix = chosen(arguments) if arguments.verb != "create" else ""
    frozen = f"{prefix}/conda-meta/frozen"
    if prefix and os.path.exists(frozen):
        with open(frozen, encoding="utf-8") as file:
            text = file.read()
        message = json.loads(text).get("message", "") if text.strip() else ""
        print(
            f"\nEnvironmentIsFrozenError: Cannot modify '{prefix}'. The environment is marked as frozen.",
            file=sys.stderr,
        )
        print(message, file=sys.stderr)
        sys.exit(1)
    sys.exit("this conda is a stand-in for tests: it changes nothing")


def shell(words: list[str]) -> Iterator[str]:
    """Commands that ``conda activate`` and its kin let the shell obey."""
    verb, *names = words
    if verb == "activate":
        prefix = located(names[0] if names else "base")
        level = int(os.environ.get("CONDA_SHLVL") or 0)
        if level:
            yield from left(os.environ["CONDA_PREFIX"])
            yield f"export CONDA_PREFIX_{level}={shlex.quote(os.environ['CONDA_PREFIX'])}"
        yield f"export CONDA_SHLVL={level + 1}"
        yield from entered(prefix, "base" if prefix == BASE else os.path.basename(prefix))
    elif verb == "deactivate" and os.environ.get("CONDA_PREFIX"):
        level = int(os.environ.get("CONDA_SHLVL") or 1) - 1
        yield from left(os.environ["CONDA_PREFIX"])
        yield f"export CONDA_SHLVL={level}"
        if before := os.environ.get(f"CONDA_PREFIX_{level}"):
            yield f"unset CONDA_PREFIX_{level}"
            yield from entered(before, "base" if before == BASE else os.path.basename(before))
        else:
            yield "unset CONDA_PREFIX CONDA_DEFAULT_ENV"


def entered(prefix: str, name: str) -> Iterator[str]:
    yield f'export PATH={shlex.quote(prefix + "/bin")}:"$PATH"'
    yield f"export CONDA_PREFIX={shlex.quote(prefix)} CONDA_DEFAULT_ENV={shlex.quote(name)}"
    for key, value in variables(prefix).items():
        yield f"export {key}={shlex.quote(value)}"
    yield from (f". {shlex.quote(script)}" for script in scripts(prefix, "activate.d"))


def left(prefix: str) -> Iterator[str]:
    yield from (f". {shlex.quote(script)}" for script in reversed(scripts(prefix, "deactivate.d")))
    yield from (f"unset {key}" for key in variables(prefix))
    path = [each for each in os.environ.get("PATH", "").split(":") if each != f"{prefix}/bin"]
    yield f"export PATH={shlex.quote(':'.join(path))}"


def scripts(prefix: str, kind: str) -> list[str]:
    directory = f"{prefix}/etc/conda/{kind}"
    names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
    return [f"{directory}/{name}" for name in names if name.endswith(".sh")]


def variables(prefix: str) -> dict[str, str]:
    """Those of packages, then the environment's own, which win."""
    directory = f"{prefix}/etc/conda/env_vars.d"
    files = [f"{directory}/{name}" for name in sorted(os.listdir(directory))] if os.path.isdir(directory) else []
    found: dict[str, str] = {}
    for path in files:
        with open(path, encoding="utf-8") as file:
            found |= json.load(file)
    if os.path.exists(state := f"{prefix}/conda-meta/state"):
        with open(state, encoding="utf-8") as file:
            found |= json.load(file).get("env_vars", {})
    return found


if __name__ == "__main__":
    main()
