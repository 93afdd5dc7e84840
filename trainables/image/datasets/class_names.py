"""Names of classes that look the same: one class, or a question."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable

from trainables.errors import DataError


def canonical(name: str) -> str:
    """A name without what nobody means: accents in one form (NFC), no blanks or invisible letters at the ends."""
    if name.isascii() and name == name.strip() and "  " not in name and name.isprintable():
        return name
    name = re.sub(r"\s+", " ", unicodedata.normalize("NFC", name))
    while name and (name[0].isspace() or _is_invisible(name[0])):
        name = name[1:]
    while name and (name[-1].isspace() or _is_invisible(name[-1])):
        name = name[:-1]
    return name


def unite(names: Iterable[str], meant: Collection[str] = ()) -> tuple[dict[str, str], list[str]]:
    """One name for all that look the same.

    Args:
        names: of classes, as they are written.
        meant: names that the user has listed: what is among them is a class of its own.

    Returns:
        As written → what the class is called; and a line for people about each class that is written in several ways.

    Raises:
        DataError: names differ in capitals only: whether that is one class is a question.
    """
    looks: dict[str, list[str]] = defaultdict(list)
    for name in sorted(set(names)):
        looks[name if name in meant else "".join(c for c in canonical(name) if not _is_invisible(c))].append(name)
    called: dict[str, str] = {}
    notes = []
    for look, written in looks.items():
        one = {name if name in meant else canonical(name) for name in written}
        called |= dict.fromkeys(written, one.pop() if len(one) == 1 else look)
        if len(written) > 1:
            ways = ", ".join(map(ascii, written))
            notes.append(f"one class {called[written[0]]!r}: its name is written in {len(written)} ways ({ways})")
    _refuse_capitals(set(called.values()), meant)
    return called, notes


def _refuse_capitals(names: Collection[str], meant: Collection[str]) -> None:
    folded: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        folded[name.casefold()].append(name)
    for alike in folded.values():
        if len(alike) > 1 and not set(alike) & set(meant):
            listed = ", ".join(map(repr, alike))
            raise DataError(
                f"data: the classes {listed} differ in capitals only: are they one class?\n"
                "  If so, give them one name. If not, list the classes that you mean: data.classes: [...]"
            )


def _is_invisible(letter: str) -> bool:
    """Whether a letter has no shape: zero-width blanks and joiners, marks of direction and byte order."""
    return unicodedata.category(letter) == "Cf"
