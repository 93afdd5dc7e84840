"""Results from Python: `open_results("results")`. Tables come as Arrow, which pandas, polars and DuckDB take.

from sweep_runner import open_results

results = open_results("results")
trials = results.trials("quickstart").to_pandas()
results.query("select model, max(best_val_accuracy) from trials group by model")
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep_runner.errors import RequestError
from sweep_runner.results.paths import ResultsPaths, remote_url

if TYPE_CHECKING:
    import pyarrow as pa

_LOGGER = logging.getLogger(__name__)


class Results:
    """What is in a results folder, read anew at each call: a sweep may be running.

    Tables are `pyarrow.Table`: `.to_pandas()`, `polars.from_arrow(table)`, `duckdb.sql("from table")`.
    """

    def __init__(self, root: Path) -> None:
        """Use `open_results`."""
        self._paths = ResultsPaths(root)

    @property
    def root(self) -> Path:
        """The folder."""
        return self._paths.root

    @property
    def names(self) -> list[str]:
        """The names of the sweeps."""
        self._bring()
        return [paths.name for paths in self._paths.sweeps()]

    def _bring(self) -> None:
        """Of remote results, what changed."""
        if remote_url(self.root) is not None:
            from sweep_runner.results.remote.fetch import TABLES, refresh

            refresh(self._paths, TABLES, None, _LOGGER.warning)

    def sweeps(self) -> pa.Table:
        """One row per sweep."""
        return self._table("sweeps", None, None)

    def trials(self, sweep: str | Collection[str] | None = None) -> pa.Table:
        """A row per trial; every param is a column.

        Args:
            sweep: of this sweep, or of these; None: of all.

        Raises:
            RequestError: there is no such sweep.
        """
        return self._table("trials", sweep, None)

    def epochs(self, sweep: str | Collection[str] | None = None, trial: int | None = None) -> pa.Table:
        """A row per epoch of a trial: the learning curves. As `trials`."""
        return self._table("epochs", sweep, trial)

    def predictions(self, sweep: str | Collection[str] | None = None, trial: int | None = None) -> pa.Table:
        """A row per example of a final evaluation. As `trials`."""
        return self._table("predictions", sweep, trial)

    def classes(self, sweep: str | Collection[str] | None = None, trial: int | None = None) -> pa.Table:
        """A row per class of a final evaluation. As `trials`."""
        return self._table("classes", sweep, trial)

    def confusions(self, sweep: str | Collection[str] | None = None, trial: int | None = None) -> pa.Table:
        """A row a cell of a confusion matrix. As `trials`."""
        return self._table("confusions", sweep, trial)

    def candidates(self, sweep: str | Collection[str] | None = None) -> pa.Table:
        """A row per model that a sweep had to choose from when it published one. As `trials`."""
        return self._table("candidates", sweep, None)

    def query(self, sql: str) -> pa.Table:
        """One SQL query (DuckDB's) over all tables, which can only read; `@name` is a saved one.

        Raises:
            RequestError: the query is wrong, or wants to write.
        """
        from sweep_runner.results.query import run_query
        from sweep_runner.results.saved_queries import find_query

        self._bring()
        text = find_query(self._paths, sql[1:].strip()).sql if sql.startswith("@") else sql
        return run_query(self._paths, text)

    def _table(self, table: str, sweep: str | Collection[str] | None, trial: int | None) -> pa.Table:
        import pyarrow.compute as pc

        from sweep_runner.results.lookup import find_sweep
        from sweep_runner.results.tables import load_table

        self._bring()
        wanted = [sweep] if isinstance(sweep, str) else sweep
        for name in wanted or ():
            find_sweep(self._paths, name)
        found = load_table(self._paths, table, wanted)
        return found if trial is None else found.filter(pc.equal(found["trial"], trial))

    def __repr__(self) -> str:
        return f"open_results({str(self.root)!r}): {', '.join(self.names) or 'no sweeps'}"


def open_results(folder: str | os.PathLike[Any] = "results") -> Results:
    """Opens a results folder. Cheap: nothing is read before it is asked for.

    Args:
        folder: as `--results` names it; `s3://bucket/prefix`, too.

    Raises:
        RequestError: no such folder.
    """
    if isinstance(folder, str) and "://" in folder:
        from sweep_runner.results.remote.address import Address, working_copy

        return Results(working_copy(Address.parse(folder)))
    root = Path(folder).expanduser().absolute()
    if not root.is_dir():
        raise RequestError(f"{folder}: no such folder", hint="give the folder of --results")
    return Results(root)
