"""A sweep as an object: what came out of it, and its model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep_runner.api import Results, open_results
from sweep_runner.errors import RequestError
from sweep_runner.results.display import column_texts, few_digits
from sweep_runner.results.leaderboard import Leaderboard, TrialRow, leaderboard
from sweep_runner.results.lookup import find_sweep
from sweep_runner.results.paths import ResultsPaths
from sweep_runner.results.ranked_table import RankedTable
from sweep_runner.results.trial_names import find_trial

if TYPE_CHECKING:
    import pyarrow as pa

TOP = 10


class Top(Sequence[TrialRow]):
    """The best trials, best first: a sequence that shows itself as a table."""

    def __init__(self, board: Leaderboard, limit: int) -> None:
        self._rows = board.ranked[:limit]
        self._shown = RankedTable(board, self._rows)

    def __getitem__(self, place: Any) -> Any:
        return self._rows[place]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[TrialRow]:
        return iter(self._rows)

    def __repr__(self) -> str:
        columns, rows = self._texts()
        widths = [max([len(column), *(len(row[k]) for row in rows)]) for k, column in enumerate(columns)]
        lines = [columns, *rows]
        shown = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
        return "\n".join([*(line.rstrip() for line in shown), *self._shown.notes])

    def _repr_html_(self) -> str:
        from html import escape

        from sweep_runner.python.show import table

        return table(*self._texts()) + "".join(f"<p>{escape(note)}</p>" for note in self._shown.notes)

    def _texts(self) -> tuple[list[str], list[list[str]]]:
        columns, cells = self._shown.folded
        texts = [column_texts([row[place] for row in cells]) for place in range(len(columns))]
        return list(columns), [list(row) for row in zip(*texts, strict=True)]


class Sweep:
    """A sweep in a results folder. Read anew at each call: it may be running.

    Args:
        name: of the sweep.
        results: the results folder.

    Raises:
        RequestError: there is no such sweep, or no such folder.
    """

    def __init__(self, name: str, results: str | os.PathLike[Any] = "results") -> None:
        self._results: Results = open_results(results)
        self._paths = find_sweep(ResultsPaths(self._results.root), name)

    @property
    def name(self) -> str:
        """Of the sweep."""
        return self._paths.name

    @property
    def folder(self) -> Path:
        """Where it keeps everything."""
        return self._paths.root

    @property
    def state(self) -> str:
        """RUNNING, COMPLETED, FAILED or INTERRUPTED."""
        return self._board().sweep.state

    @property
    def best(self) -> TrialRow | None:
        """The best trial: `.trial`, `.value`, `.params`, `.metrics`; None while none has a value."""
        return next(iter(self._board().ranked), None)

    def top(self, limit: int = TOP) -> Top:
        """The best trials, best first."""
        return Top(self._board(), limit)

    def trial(self, trial: int | str | None = None) -> TrialRow:
        """One trial, by its number or its baseline's name; None: the best.

        Raises:
            RequestError: there is none such.
        """
        return find_trial(self._board(), None if trial is None else str(trial))

    def trials(self) -> pa.Table:
        """One row per trial; every param is a column. `.to_pandas()` makes a data frame."""
        return self._results.trials(self.name)

    def epochs(self, trial: int | None = None) -> pa.Table:
        """One row per epoch of a trial: the learning curves."""
        return self._results.epochs(self.name, trial)

    def report(self, output: str | os.PathLike[Any] | None = None) -> Path:
        """Writes the report, one HTML file, and returns where it is.

        Args:
            output: the file; by default `report.html` in the sweep's folder.
        """
        import warnings

        from sweep_runner.report.page import write_report

        target = None if output is None else Path(output).expanduser().absolute()
        return write_report(ResultsPaths(self._results.root), self.name, target, warnings.warn)

    @property
    def model(self) -> Path:
        """The published model package.

        Raises:
            RequestError: there is none.
        """
        if not (self._paths.best / "model.onnx").is_file():
            hint = f"Let it finish (run_sweep(..., resume=True)), or export a trial: {self._paths.command('export')}"
            raise RequestError(f"the sweep {self.name!r} has published no ONNX model ({self._paths.best})", hint=hint)
        return self._paths.best

    def predict(self, images: Any) -> list[dict[str, Any]]:
        """What the best model says of images.

        Args:
            images: paths of files or folders, PIL images or uint8 arrays (H, W, C), or a sequence of them.

        Returns:
            A mapping per image: path (None of an image that is not a file), predicted, probability, probabilities (by
            class), and error for a file that could not be read.

        Raises:
            RequestError: the sweep has no model.
            DataError: there is no such file, or something is no image.
        """
        from trainables.cpus import num_cpus
        from trainables.image.deployment.given_images import predict_given
        from trainables.image.package import load_package

        package = load_package(self.model)
        rows = predict_given(package, images, num_cpus()).to_pylist()
        classes = package.facts.classes
        return [
            {
                "path": row["path"],
                "predicted": row["predicted"],
                "probability": row["probability"],
                "probabilities": {name: row[f"p_{name}"] for name in classes},
                "error": row["error"],
            }
            for row in rows
        ]

    def _board(self) -> Leaderboard:
        return leaderboard(ResultsPaths(self._results.root), self.name)

    def __repr__(self) -> str:
        board = self._board()
        best = next(iter(board.ranked), None)
        counts = ", ".join(f"{count} {state.lower()}" for state, count in board.sweep.counts.items())
        known = "" if best is None else f"; best {board.objective} {few_digits(best.value)} (trial {best.trial})"
        return f"Sweep({self.name!r}): {board.sweep.state.lower()}, {counts or 'no trials yet'}{known}"
