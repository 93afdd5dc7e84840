"""The notebook that ships: it runs from its first cell to its last, and shows what it says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.documents import ROOT

NOTEBOOK = ROOT / "examples" / "notebook.ipynb"


def test_it_is_shipped_without_output() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")


def _shown(notebook: Any, start: str, kind: str = "text/plain") -> str:
    """What the cells that begin so have shown."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.startswith(start)]
    assert cells
    outputs = [output for cell in cells for output in cell.outputs if "data" in output]
    return "\n".join(output.data[kind] for output in outputs if kind in output.data)


@pytest.mark.ray
def test_it_runs_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": tmp_path}})
    client.execute()
    assert "Sweep('photos'): completed, " in _shown(notebook, "from sweep_runner")
    live = _shown(notebook, "from sweep_runner", "text/html")
    assert "3/3 trials" in live
    assert "best val_accuracy" in live
    assert "starting" not in live, "the table is replaced in place, and says nothing of what is over"
    assert "<td" in _shown(notebook, "sweep.top", "text/html")
    assert "'lr': " in _shown(notebook, "sweep.best")
    assert (tmp_path / "results" / "photos" / "report.html").is_file()
    predictions = _shown(notebook, "rows =")
    assert "sea/0.png" in predictions
    assert "(None, 'grass'" in predictions
    assert "val_score" in _shown(notebook, "def climb", "text/html")
    assert "notebook:climb" in (tmp_path / "results" / "climb" / "sweep.yaml").read_text()
