"""`python -m sweep_runner`, and the `sweep` command, which are the same."""

import os
import sys


def run() -> int:
    """Runs the `sweep` command and returns its exit code. Ctrl-C while it is still being imported ends quietly, too."""
    try:
        from sweep_runner.cli.main import EXIT_INTERRUPTED, main
    except KeyboardInterrupt:
        return 130
    try:
        return main()
    except KeyboardInterrupt:  # while an error was being told
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    # `python -m` puts the current directory first: a file there must not take the place of an installed module.
    if sys.path[:1] == [os.getcwd()]:  # noqa: PTH109 - before anything else is imported
        sys.path.append(sys.path.pop(0))
    sys.exit(run())
