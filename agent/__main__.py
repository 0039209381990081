"""Where `agent` starts: the short way for a host on which nothing changed, and the command line for everything else."""

from __future__ import annotations

import posix
import sys

from agent import quiet


def main() -> int:
    """Runs the command line that was given; returns the exit status."""
    posix.umask(0o022)  # files and directories get their modes from the agent, not from whoever starts it
    words = sys.argv[1:]
    status = quiet.attempt(words)
    if status is not None:
        return status
    # the launcher starts Python with -S, to save that time on the short way
    if sys.flags.no_site and "site" not in sys.modules:
        import site

        site.main()
    if words == ["daemon"]:  # as its unit starts it: what parses a command line would be an eighth of its memory
        from agent.cli import guarded
        from agent.cli.daemon import follow

        return guarded(lambda: follow(quiet.SPEC))
    from agent.cli import run

    return run(words)


if __name__ == "__main__":
    sys.exit(main())
