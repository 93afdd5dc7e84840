"""Where latency is told of a model's formats and of what could be published, its 95th percentile is told, too."""

from __future__ import annotations

import json
from pathlib import Path

from sweep_runner.results.candidates import empty_candidates, text_table
from sweep_runner.results.package_formats import COLUMNS, package_formats
from trainables.image.deployment.model_card import _format_row

ENTRY = {
    "file": "model.onnx",
    "bytes": 9e6,
    "judged": {"val": {"score": "0.7"}},
    "facts": {"onnx_latency_ms": 1.25, "onnx_latency_p95_ms": 1.75, "onnx_latency_batch32_ms": 40.0},
}


def test_formats_tell_it_where_it_was_measured(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(json.dumps({"formats": {"onnx": ENTRY}}))
    found = package_formats(tmp_path)
    assert found is not None
    (cells,) = found.rows
    row = dict(zip(COLUMNS, cells, strict=True))
    assert (row["ms for one"], row["ms for 32"]) == ("1.25 (p95 1.75)", "40")
    assert "| 1.25 (p95 1.75) |" in _format_row(ENTRY)


def test_candidates_tell_it() -> None:
    row = dict.fromkeys(empty_candidates().column_names)
    row |= {"candidate": "single", "trials": [3], "onnx_latency_ms": 1.25, "onnx_latency_p95_ms": 1.75}
    assert "1.25 ms (p95 1.75)" in text_table([row])[1]
