"""What differs between two versions of a sweep file: one line per key, with the value of before and of now."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sweep_runner.spec.model import SweepSpec

_NONE = object()
_LONG = 120


@dataclass(frozen=True)
class Change:
    """One key that differs.

    Attributes:
        key: its path, such as `("space", "lr", "high")`.
        before, after: what it was and is, as short JSON; None where the key is not there.
    """

    key: tuple[str, ...]
    before: str | None
    after: str | None

    def __str__(self) -> str:
        return f"{'.'.join(self.key)}: {self.before or '(not there)'} → {self.after or '(not there)'}"


def differences(before: SweepSpec, after: SweepSpec) -> list[Change]:
    """Every key that differs between two resolved sweep files, in the order of the file."""
    return compare(before.model_dump(mode="json"), after.model_dump(mode="json"))


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Every key that differs between two JSON-ready mappings. The order of keys does not count."""
    return list(_compare((), before, after))


def _compare(path: tuple[str, ...], before: Any, after: Any) -> Iterator[Change]:
    if exact(before) == exact(after):
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping) and _of_one_kind(path, before, after):
        for key in {**before, **after}:
            yield from _compare((*path, key), before.get(key, _NONE), after.get(key, _NONE))
        return
    yield Change(path, _short(before), _short(after))


def _of_one_kind(path: tuple[str, ...], before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether one line per key tells more than one for the whole: not where a choice became a range, say."""
    if path[:1] == ("space",) and len(path) == 2:
        return ("values" in before) == ("values" in after)
    return path[:1] != ("pruner",) or before.get("kind") == after.get("kind")


def exact(value: Any) -> str:
    """JSON with sorted keys: tells 1 and true apart, which Python's `==` does not."""
    return "" if value is _NONE else json.dumps(value, sort_keys=True)


def _short(value: Any) -> str | None:
    """For the user: without the keys that say nothing, and cut when it is very long."""
    if value is _NONE:
        return None
    if isinstance(value, Mapping):
        value = {key: item for key, item in value.items() if item is not None and item is not False and item != {}}
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONG else f"{text[: _LONG - 1]}…"
