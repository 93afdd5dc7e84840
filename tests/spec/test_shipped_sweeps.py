"""Every shipped sweep file is valid, says what it asks, and names the schema."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import jsonschema
import pytest

from sweep_runner.spec.check import check_spec
from sweep_runner.spec.document import parse
from sweep_runner.spec.loader import load_spec
from trainables.image.checks import advice

SWEEPS = Path(__file__).parents[2] / "sweeps"
FILES = sorted(SWEEPS.glob("*.yaml"))


def test_there_are_shipped_sweeps() -> None:
    assert {"quickstart.yaml", "voc.yaml"} <= {path.name for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_shipped_sweep_is_valid(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advice, "memory_bytes", lambda: None)  # what fits into this machine is not the file's
    plan = check_spec(load_spec(path))
    assert plan.warnings == ()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_shipped_sweep_passes_its_schema_and_says_what_it_asks(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    comment = text.splitlines()[0]
    assert comment.startswith("# yaml-language-server: $schema=")
    _validator_of(path.parent / comment.partition("=")[2]).validate(parse(text, path.name).value)
    opening = text.partition("name:")[0]
    assert "?" in opening, "the opening comment says which question the sweep answers"


@functools.cache
def _validator_of(schema: Path) -> jsonschema.Draft202012Validator:
    content = json.loads(schema.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(content)
    return jsonschema.Draft202012Validator(content)


def test_the_quick_start_needs_no_download_and_pauses() -> None:
    spec = check_spec(load_spec(SWEEPS / "quickstart.yaml")).spec
    assert spec.data["dataset"] == "digits"
    assert spec.search.trials >= 16
    assert spec.pruner.kind == "promotion"
    assert spec.fixed.get("pretrained") is False or spec.fixed.get("finetune") == "scratch"
