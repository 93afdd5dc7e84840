"""Two sweeps on one page: on the same axes, with what differs between them, and only where they compare."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from sweep_runner.cli.main import sweep
from sweep_runner.errors import RequestError
from sweep_runner.report.charts.plot import Shown
from sweep_runner.report.sweeps_page import collect, render
from sweep_runner.results.paths import ResultsPaths
from tests.support.evaluated import write_evaluated_sweep

CLASSES = ("basket", "tennis", "golf")
FILE = "name: {name}\ndata: {{dataset: digits}}\nfixed: {{epochs: {epochs}}}\nspace: {{lr: {{low: 0.001, high: 1}}}}\n"


def _silent(text: str) -> None:
    raise AssertionError(text)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> ResultsPaths:
    root = tmp_path_factory.mktemp("results")
    for name, others, epochs in (("balls", 3, 5), ("<i>more", 6, 9)):
        paths = write_evaluated_sweep(root, CLASSES, name=name, num_others=others, epochs=epochs)
        paths.spec.write_text(FILE.format(name="x", epochs=epochs))
    return ResultsPaths(root)


def _steps(shown: Shown, color: int) -> list[float]:
    path = re.search(rf'class="line c{color}" d="([^"]*)"', shown.svg)
    assert path is not None
    return [float(place) for place in re.findall(r"[MH]([\d.]+)", path[1])]


def test_sweeps_are_drawn_on_the_same_axes(results: ResultsPaths) -> None:
    values = collect(results, ["balls", "<i>more"], _silent)
    by_trials = values["figures"][0]
    short, long = _steps(by_trials, 0), _steps(by_trials, 1)
    assert (len(short), len(long)) == (5, 8)
    assert short == long[:5], "after as many trials both stand at the same place"
    assert [each.title for each in values["slices"]] == ["lr"]
    assert values["slices"][0].svg.count('class="dot c') == 4, "each has a colour, here and in the legend"


def test_what_differs_is_told(results: ResultsPaths) -> None:
    values = collect(results, ["balls", "<i>more"], _silent)
    assert ("fixed.epochs", ["5", "9"]) in values["differences"]
    rows = dict(values["rows"])
    assert rows["trials"] == ["5 completed", "8 completed"]
    assert rows["best trial"] == ["trial 4", "trial 7"]
    assert "accuracy on test" in rows
    assert re.search(r"same \d+ examples of test: accuracy", values["verdicts"][0])
    page = render(results, ["balls", "<i>more"], _silent)
    assert "<i>more" not in page
    assert not re.search(r"""(src|href)=["'](https?:)?//|@import|url\(""", page)


def test_the_command_writes_one_page(results: ResultsPaths) -> None:
    ran = CliRunner().invoke(sweep, ["report", "balls", "<i>more", "--results", str(results.root)])
    assert ran.exit_code == 0, ran.output
    (page,) = (results.root / "balls").glob("compared-with-*.html")
    assert str(page) in ran.output


def test_what_does_not_compare_is_refused(tmp_path: Path) -> None:
    results = ResultsPaths(tmp_path)
    write_evaluated_sweep(tmp_path, CLASSES, name="balls", examples=20)
    with pytest.raises(RequestError, match="two to 6 different sweeps"):
        collect(results, ["balls", "balls"], _silent)
    other = write_evaluated_sweep(tmp_path, CLASSES, name="other", examples=20)
    log = other.tables / "sweeps"
    assert log.is_dir()
    import pyarrow.parquet as pq

    for part in log.glob("*.parquet"):
        table = pq.read_table(part)
        place = table.schema.get_field_index("objective")
        pq.write_table(table.set_column(place, "objective", [["val_loss"]]), part)
    with pytest.raises(RequestError, match="cannot be compared on the same axes"):
        collect(results, ["balls", "other"], _silent)
