"""What `sweep data check` has seen, as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sweep_runner.durable import write_atomically
from sweep_runner.report.page import page_environment
from trainables.contract import Preparation
from trainables.look import Section


def write_data_page(name: str, file: Path, preparation: Preparation, sections: Sequence[Section], output: Path) -> None:
    """Writes the page.

    Args:
        name: of the sweep.
        file: the sweep file.
        preparation: what was read.
        sections: what the trainable shows of it.
        output: the file to write.
    """
    environment = page_environment()
    environment.filters.update(share=_share, count=_count)
    page = environment.get_template("data.html.j2").render(
        name=name,
        file=file.name,
        fingerprint=preparation.fingerprint,
        summary=preparation.summary,
        warnings=preparation.warnings,
        sections=sections,
        shares={section.key: _largest(section) for section in sections},
    )
    content = page.encode()
    write_atomically(output, lambda stream: stream.write(content))


def _largest(section: Section) -> list[float]:
    """The largest number of each column, 0 where it has none."""
    return [
        max((float(cell) for cell in column if isinstance(cell, int | float)), default=0.0)
        for column in zip(*section.rows, strict=True)
    ]


def _share(largest: float, value: float) -> str:
    return f"{100 * value / largest:.1f}" if largest > 0 else "0"


def _count(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
