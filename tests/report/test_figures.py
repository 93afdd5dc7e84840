"""The report's figures say what the words above them say."""

from __future__ import annotations

import optuna
import pytest
from optuna.distributions import FloatDistribution

from sweep_runner.report import figures


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_best_trial_has_the_strongest_color(direction: str) -> None:
    study = optuna.create_study(direction=direction)
    spaces = {name: FloatDistribution(0, 1) for name in ("lr", "momentum")}
    for value in (0.1, 0.2, 0.5, 0.7, 0.9):
        study.add_trial(
            optuna.create_trial(params={"lr": value, "momentum": value**2}, distributions=spaces, value=value)
        )
    parallel = figures.parallel_coordinates(study, "score")
    contour = figures.contour(study, "score")
    assert parallel is not None
    assert contour is not None
    lines = {float(line.customdata[0][1]): line.line.color for line in parallel.figure.data if line.customdata}
    best, worst = (0.9, 0.1) if direction == "maximize" else (0.1, 0.9)
    assert lines[best].replace(".0", "").replace(" ", "") == figures.ORANGE_RGB
    assert lines[worst].replace(".0", "").replace(" ", "") == "rgb(150,150,150)"
    assert bool(contour.figure.data[0].reversescale) == (direction == "minimize"), "dark is the end of the scale"
