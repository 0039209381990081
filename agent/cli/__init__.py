"""The command line: which verb, with which options. Each verb is a function in a module beside this one; it prints and returns an exit status."""

from __future__ import annotations

import sys

from agent.errors import AgentError, Exit, SpecError, refusal


def run(words: list[str]) -> int:
    """Runs one verb; every failure becomes a message and an exit status."""
    from agent.cli import arguments, console

    try:
        options = arguments.parse(words)
        console.configure(options)
        return int(options.run(options))
    except SpecError as error:
        from agent.report.problems import format_problem

        for problem in error.problems:
            print(format_problem(problem), file=sys.stderr)
        print(f"{error}. Nothing was changed.", file=sys.stderr)
        return Exit.BAD_SPEC
    except AgentError as error:
        print(f"agent: {error}", file=sys.stderr)
        if error.hint:
            print(f"  hint: {error.hint}", file=sys.stderr)
        return error.exit_status
    except PermissionError as error:
        print(f"agent: {error.filename}: permission denied", file=sys.stderr)
        print("  hint: this needs root: sudo agent ...", file=sys.stderr)
        return Exit.ERROR
    except BrokenPipeError:
        # the reader has gone (agent plan | head); the interpreter must not complain about it at exit
        import os

        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.ERROR
    except OSError as error:
        failure = refusal(error)
        print(f"agent: {failure}", file=sys.stderr)
        if failure.hint:
            print(f"  hint: {failure.hint}", file=sys.stderr)
        return Exit.ERROR
    except KeyboardInterrupt:
        print("agent: interrupted; run it again to go on", file=sys.stderr)
        return 130
