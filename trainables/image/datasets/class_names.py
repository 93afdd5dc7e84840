"""Names of classes that look the same: one class, or a question."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Mapping

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


def unite(
    counts: Mapping[str, int], meant: Collection[str] = (), renamed: Mapping[str, str] | None = None
) -> tuple[dict[str, str], list[str]]:
    """One name for all that look the same, or are called the same.

    Args:
        counts: a class's name, as it is written → its number of examples.
        meant: names that the user has listed: what is among them is a class of its own.
        renamed: a name, as it is written → what the user calls that class.

    Returns:
        As written → what the class is called; and a line for people about each class that is written in several ways,
        or renamed.

    Raises:
        DataError: names differ in capitals only: whether that is one class is a question.
    """
    renamed = renamed or {}
    own = {*meant, *renamed}
    looks: dict[str, list[str]] = defaultdict(list)
    for name in sorted(counts):
        looks[name if name in own else "".join(c for c in canonical(name) if not _is_invisible(c))].append(name)
    called: dict[str, str] = {}
    notes = []
    for look, written in looks.items():
        one = {name if name in own else canonical(name) for name in written}
        called |= dict.fromkeys(written, one.pop() if len(one) == 1 else look)
        if len(written) > 1:
            ways = ", ".join(map(ascii, written))
            notes.append(f"one class {called[written[0]]!r}: its name is written in {len(written)} ways ({ways})")
    called = {written: renamed.get(name, name) for written, name in called.items()}
    notes += _renamed_notes(counts, called, renamed)
    _refuse_capitals(counts, called, meant)
    return called, notes


def alike(counts: Mapping[str, int], meant: Collection[str] = ()) -> list[str]:
    """A warning about each group of classes whose names may mean one class, such as `cat` and `cats`.

    Args:
        counts: a class's name → its number of examples.
        meant: names that the user has listed, which are right as they are.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(counts):
        letters = re.sub(r"[\W_]+", "", name.casefold())
        groups[letters.removesuffix("s") if len(letters) > 3 else name].append(name)
    warnings = []
    for names in groups.values():
        if len(names) > 1 and not set(names) <= set(meant):
            listed = ", ".join(f"{name!r} ({counts[name]})" for name in names)
            warnings.append(f"the names of the classes {listed} are alike. {_merge(counts, names)}")
    return warnings


def _merge(counts: Mapping[str, int], names: Collection[str]) -> str:
    """How to make one class of several: by the name of the largest."""
    largest = max(sorted(names), key=lambda name: counts[name])
    others = ", ".join(f"{name}: {largest}" for name in sorted(names) if name != largest)
    return f"If they are one class, merge them: data.rename_classes: {{{others}}}"


def _renamed_notes(counts: Mapping[str, int], called: Mapping[str, str], renamed: Mapping[str, str]) -> list[str]:
    """What became of the classes that are renamed, with the examples of each."""
    notes = []
    for new in dict.fromkeys(renamed.values()):
        parts = sorted(written for written, name in called.items() if name == new)
        if parts:
            listed = ", ".join(f"{part!r} ({counts[part]})" for part in parts)
            notes.append(f"class {new!r} {'merges' if len(parts) > 1 else 'is'} {listed}")
    return notes


def _refuse_capitals(counts: Mapping[str, int], called: Mapping[str, str], meant: Collection[str]) -> None:
    folded: dict[str, list[str]] = defaultdict(list)
    sizes: dict[str, int] = defaultdict(int)
    for written, name in called.items():
        sizes[name] += counts[written]
    for name in sorted(sizes):
        folded[name.casefold()].append(name)
    for names in folded.values():
        if len(names) > 1 and not set(names) & set(meant):
            listed = ", ".join(f"{name!r} ({sizes[name]})" for name in names)
            raise DataError(
                f"data: the names of the classes {listed} differ in capitals only: are they one class?\n"
                f"  {_merge(sizes, names)}\n"
                "  If not, list the classes that you mean: data.classes: [...]"
            )


def _is_invisible(letter: str) -> bool:
    """Whether a letter has no shape: zero-width blanks and joiners, marks of direction and byte order."""
    return unicodedata.category(letter) == "Cf"
