"""The reference page names every key, and the one in docs/ is the one that the command writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweep_runner.cli.main import main
from sweep_runner.spec.reference import sweep_reference
from sweep_runner.spec.schema import sweep_schema

PAGE = Path(__file__).parents[2] / "docs" / "sweep-file.md"
SCHEMA = sweep_schema()
SECTIONS: dict[str, dict[str, Any]] = {
    "top": SCHEMA["properties"],
    **{
        name: {key: value for key, value in section["properties"].items() if key != "kind"}
        for name, section in SCHEMA["$defs"].items()
        if "properties" in section and name not in ("SweepSpec", "Range")
    },
}


def test_the_page_in_docs_is_the_one_that_the_command_writes(tmp_path: Path) -> None:
    assert main(["schema", "--format", "markdown", "--output", str(tmp_path / "page.md"), "--quiet"]) == 0
    written = (tmp_path / "page.md").read_text(encoding="utf-8")
    again = "write it again: sweep schema --format markdown --output docs/sweep-file.md"
    assert PAGE.read_text(encoding="utf-8") == written, again


def test_the_command_prints_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--format", "markdown"]) == 0
    assert capsys.readouterr().out == sweep_reference()


@pytest.fixture(scope="module")
def rows() -> list[str]:
    return [line for line in sweep_reference().splitlines() if line.startswith("| ")]


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_has_a_row_with_its_help(section: str, rows: list[str]) -> None:
    for name, key in SECTIONS[section].items():
        own = [row for row in rows if row.startswith((f"| `{name}` |", f"| [`{name}`]"))]
        assert any(key.get("description", "").replace("|", r"\|") in row for row in own), name


def test_a_row_gives_type_range_and_default() -> None:
    page = sweep_reference()
    assert "| `dropout` | number, ≥ 0, < 1 | `0.0` |" in page
    assert "| `color` | `rgb`, `grayscale` | `rgb` |" in page
    assert "| `max_concurrent` | `auto` or whole number, ≥ 1 | `auto` |" in page
    assert "| `name` | text | required |" in page
