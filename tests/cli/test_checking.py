"""A check that takes long says on a terminal what it is doing."""

from __future__ import annotations

import sys
import time

import pytest

from sweep_runner.cli.checking import Waiting
from sweep_runner.cli.common import Out


class Heard(Out):
    """Keeps what is said."""

    said: list[str] = []

    def say(self, text: str, *, style: str = "") -> None:
        self.said.append(text)


@pytest.mark.parametrize("terminal", [True, False])
def test_what_takes_long_is_told_on_a_terminal(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.setattr(Heard, "said", [])
    with Waiting(Heard(), after_s=0.01) as waiting:
        waiting.told("trying nest_tiny", 3, 12)
        deadline = time.monotonic() + 20
        while terminal and not Heard.said and time.monotonic() < deadline:
            time.sleep(0.01)
    assert Heard.said == (["trying nest_tiny: 3 of 12 combinations"] if terminal else [])


def test_what_is_quick_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(Heard, "said", [])
    with Waiting(Heard(), after_s=600.0) as waiting:
        waiting.told("trying nest_tiny", 1, 1)
    assert Heard.said == []
