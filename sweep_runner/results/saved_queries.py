"""Queries with names: those that come with the project, and the user's in `results/queries/*.sql`."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from sweep_runner.errors import RequestError
from sweep_runner.results.paths import ResultsPaths

SHIPPED = Path(__file__).parent / "queries"


@dataclass(frozen=True)
class SavedQuery:
    """One query of a name.

    Attributes:
        name: as in `sweep query @name`.
        about: the file's first comment line.
        sql: the file's text.
        path: the file.
    """

    name: str
    about: str
    sql: str
    path: Path


def user_folder(results: ResultsPaths) -> Path:
    """Where the user's queries are."""
    return results.root / "queries"


def saved_queries(results: ResultsPaths) -> dict[str, SavedQuery]:
    """Every saved query by name; the user's go before shipped ones of the same name.

    Raises:
        RequestError: a file is not UTF-8 text.
    """
    found = {}
    for folder in (SHIPPED, user_folder(results)):
        for path in sorted(folder.glob("*.sql")):
            try:
                sql = path.read_text(encoding="utf-8")
            except UnicodeDecodeError as error:
                raise RequestError(f"{path}: is not UTF-8 text", hint="save it as UTF-8, or move it away") from error
            first = sql.lstrip().splitlines()[0] if sql.strip() else ""
            about = first.removeprefix("--").strip() if first.startswith("--") else ""
            found[path.stem] = SavedQuery(path.stem, about, sql, path)
    return found


def find_query(results: ResultsPaths, name: str) -> SavedQuery:
    """The saved query of a name.

    Raises:
        RequestError: there is none; says which there are.
    """
    saved = saved_queries(results)
    if name in saved:
        return saved[name]
    near = difflib.get_close_matches(name, saved, n=1)
    hint = f"did you mean @{near[0]}?" if near else f"saved queries: {', '.join(f'@{each}' for each in saved)}"
    raise RequestError(
        f"no saved query {name!r}", hint=f"{hint} Your own go into {user_folder(results) / f'{name}.sql'}"
    )
