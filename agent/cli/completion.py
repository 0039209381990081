"""The verb `completion`: made from the same table as the command line, so that it cannot be behind."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from agent.cli import arguments
from agent.errors import Exit

_SCRIPT = """\
# bash completion for agent
_agent() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} verb=${{COMP_WORDS[1]}}
    if [ "$COMP_CWORD" = 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "{verbs}" -- "$word")
        return
    fi
    local options= action=${{COMP_WORDS[2]}}
    case $verb in
{cases}
    esac
    if [ "$verb" = env ]; then
        case $action in
{env_cases}
        esac
    fi
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
    elif [ "$verb" = secret ] && [ "$COMP_CWORD" = 2 ]; then
        mapfile -t COMPREPLY < <(compgen -W "list show set rotate" -- "$word")
    elif [ "$verb" = secret ]; then
        mapfile -t COMPREPLY < <(compgen -W "$(agent secret list 2>/dev/null)" -- "$word")
    elif [ "$verb" = import ] && [ "$COMP_CWORD" = 2 ]; then
        mapfile -t COMPREPLY < <(compgen -W "mysql" -- "$word")
    elif [ "$verb" = env ] && [ "$COMP_CWORD" = 2 ]; then
        mapfile -t COMPREPLY < <(compgen -W "{actions}" -- "$word")
    elif [ "$verb" = env ] && [ "$action" != list ] && [ "${{COMP_WORDS[COMP_CWORD-1]}}" != --spec ]; then
        mapfile -t COMPREPLY < <(compgen -W "$(agent env list --names 2>/dev/null)" -- "$word")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    fi
}}
complete -o filenames -F _agent agent
"""


def completion(_options: argparse.Namespace) -> int:
    """Prints the completion script."""
    verbs = _choices(arguments.parser())
    actions = _choices(verbs["env"])
    print(
        _SCRIPT.format(
            verbs=" ".join(sorted(verbs)),
            actions=" ".join(actions),
            cases=_cases("    ", verbs),
            env_cases=_cases("            ", actions),
        ),
        end="",
    )
    return Exit.OK


def _cases(indent: str, verbs: Mapping[str, argparse.ArgumentParser]) -> str:
    """What follows ``case``: each verb with its options."""
    return "\n".join(
        f"{indent}{name}) options='{' '.join(sorted(_options_of(verb)))}' ;;" for name, verb in sorted(verbs.items())
    )


def _choices(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The verbs of a parser, or a verb's actions."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _options_of(parser: argparse.ArgumentParser) -> set[str]:
    return {text for action in parser._actions for text in action.option_strings if text.startswith("--")}
