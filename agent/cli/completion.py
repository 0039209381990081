"""The verb `completion`: made from the same table as the command line, so that it cannot be behind."""

from __future__ import annotations

import argparse

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
    local options=
    case $verb in
{cases}
    esac
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
    elif [ "$verb" = secret ] && [ "$COMP_CWORD" = 2 ]; then
        mapfile -t COMPREPLY < <(compgen -W "list show set renew" -- "$word")
    elif [ "$verb" = secret ]; then
        mapfile -t COMPREPLY < <(compgen -W "$(agent secret list 2>/dev/null)" -- "$word")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    fi
}}
complete -o filenames -F _agent agent
"""


def completion(_options: argparse.Namespace) -> int:
    """Prints the completion script."""
    verbs: dict[str, argparse.ArgumentParser] = {}
    for action in arguments.parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            verbs = action.choices
    cases = [f"    {name}) options='{' '.join(sorted(_options_of(verb)))}' ;;" for name, verb in sorted(verbs.items())]
    print(_SCRIPT.format(verbs=" ".join(sorted(verbs)), cases="\n".join(cases)), end="")
    return Exit.OK


def _options_of(parser: argparse.ArgumentParser) -> set[str]:
    return {text for action in parser._actions for text in action.option_strings if text.startswith("--")}
