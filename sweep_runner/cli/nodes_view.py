"""The nodes of a cluster, as a table of plain lines: what they have, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from trainables.quantities import size_text

if TYPE_CHECKING:
    from sweep_runner.execution.cluster.preflight import NodeReport

_COLUMNS = ("node", "address", "CPUs", "GPUs", "free memory", "free disk", "versions", "")


def node_lines(reports: Sequence[NodeReport]) -> Iterator[str]:
    """A header and a line per node; columns in line."""
    rows = [_COLUMNS, *(_row(report) for report in reports)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _row(report: NodeReport) -> tuple[str, ...]:
    count = len(report.problems)
    return (
        report.name,
        report.address,
        f"{report.cpus:g}",
        f"{report.gpus:g}",
        _size(report.free_memory_bytes),
        _size(report.free_disk_bytes),
        ", ".join(report.differs) or ("as here" if report.free_memory_bytes is not None else "?"),
        f"{count} problem{'s' if count > 1 else ''}" if count else "ok",
    )


def _size(num_bytes: int | None) -> str:
    return "?" if num_bytes is None else size_text(num_bytes)
