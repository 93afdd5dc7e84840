"""Commands that serve until they are ended, as processes."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def serving(
    *arguments: str, announces: str, environment: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[str], re.Match[str], str]]:
    """A `sweep` command that is up, and gone when this is left.

    Args:
        arguments: of the command.
        announces: a pattern that stands in a line on stderr once it is up.
        environment: whole.

    Yields:
        The process, what was found of the pattern, and what was said until then.
    """
    command = [sys.executable, "-m", "sweep_runner", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        try:
            assert process.stderr is not None
            said = ""
            for line in process.stderr:
                said += line
                if found := re.search(announces, line):
                    yield process, found, said
                    return
            raise AssertionError(said)
        finally:
            process.kill()
