"""What bash offers while an `agent` command is typed: the real script, in a real bash."""

from __future__ import annotations

import argparse
import subprocess

import pytest

from agent.cli.completion import completion

AGENT = 'agent() { if [ "$*" = "env list --names" ]; then printf "analysis\\nlegacy\\n"; fi; }'


def offered(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    completion(argparse.Namespace())
    script = capsys.readouterr().out
    ask = f'{AGENT}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _agent; printf "%s\\n" "${{COMPREPLY[@]}}"'
    program = ["/bin/bash", "--norc", "-c", f"{script}\n{ask}", "bash", "agent", *words]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("en",), ["env"]),
        (("env", ""), ["list", "show", "lock", "update", "rollback", "clean"]),
        (("env", "ro"), ["rollback"]),
        (("env", "update", "le"), ["legacy"]),
        (("env", "update", "analysis", ""), ["analysis", "legacy"]),
        (("env", "rollback", "--t"), ["--to"]),
        (("env", "lock", "--ch"), ["--check"]),
        (("apply", "--re"), ["--retry"]),
        (("import", ""), ["mysql"]),
        (("import", "mysql", "--ho"), ["--host"]),
        (("secret", "s"), ["show", "set"]),
    ],
)
def test_what_can_follow_is_offered(
    words: tuple[str, ...], expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert offered(capsys, *words) == expected
