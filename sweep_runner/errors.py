"""The errors that reach the user, and the exit code of each.

Whatever is the user's to mend is one of these: it is printed without a traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a request.

    Attributes:
        message: the value that was wrong and the rule that it breaks.
        where: `file:line` or another place that the user can go to; empty when there is none.
        hint: what to do about it, such as the nearest valid spelling; empty when there is none.
    """

    message: str
    where: str = ""
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        hint = f"\n    {self.hint}" if self.hint else ""
        return f"{place}{self.message}{hint}"


class SweepError(Exception):
    """Something went wrong that the user should hear of in these words. Exit code 1."""

    exit_code = 1


class RequestError(SweepError):
    """The request was wrong: nothing was started. Carries every problem that was found. Exit code 2."""

    exit_code = 2

    def __init__(self, problems: Iterable[Problem] | str, hint: str = "") -> None:
        if isinstance(problems, str):
            problems = [Problem(problems, hint=hint)]
        self.problems: tuple[Problem, ...] = tuple(problems)
        assert self.problems, "a RequestError without a problem tells nobody anything"
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Interrupted(SweepError):
    """The user (or the system) stopped the command; what was done is kept. Exit code 130."""

    exit_code = 130
