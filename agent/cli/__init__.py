"""The command line: which verb, with which options. Each verb is a function in a module beside this one; it prints and returns an exit status."""

from __future__ import annotations

import sys
from collections.abc import Callable

from agent.errors import AgentError, Exit, SpecError, refusal


def run(words: list[str]) -> int:
    """Runs one verb; returns the exit status."""
    from agent.cli import arguments, console

    def verb() -> int:
        options = arguments.parse(words)
        console.configure(options)
        return int(options.run(options))

    return guarded(verb)


def guarded(work: Callable[[], int]) -> int:
    """Every failure becomes a message and an exit status."""
    try:
        return work()
    except SpecError as error:
        _say_problems(error)
        return Exit.BAD_SPEC
    except AgentError as error:
        _say_error(str(error), error.hint)
        return error.exit_status
    except PermissionError as error:
        _say_error(f"{error.filename}: permission denied", "this needs root: sudo agent ...")
        return Exit.ERROR
    except BrokenPipeError:
        # the reader has gone (agent plan | head); the interpreter must not complain about it at exit
        import os

        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.ERROR
    except OSError as error:
        failure = refusal(error)
        _say_error(str(failure), failure.hint)
        return Exit.ERROR
    except KeyboardInterrupt:
        print("agent: interrupted; run it again to go on", file=sys.stderr)
        return 130


def _say_problems(error: SpecError) -> None:
    from agent.report import journal
    from agent.report.problems import format_problem

    for problem in error.problems:
        if journal.listens():
            journal.problem(problem)
        else:
            print(format_problem(problem), file=sys.stderr)
    print(f"{error}. Nothing was changed.", file=sys.stderr)


def _say_error(message: str, hint: str) -> None:
    from agent.report import journal

    if journal.listens():
        journal.error(message, hint)
        return
    print(f"agent: {message}", file=sys.stderr)
    if hint:
        print(f"  hint: {hint}", file=sys.stderr)
