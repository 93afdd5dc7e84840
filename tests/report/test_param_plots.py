"""The figures of hyperparameters that `sweep report --png` writes can be read."""

from __future__ import annotations

import itertools

import optuna
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from sweep_runner.report import param_plots

MODELS = ("tf_efficientnet_lite0", "tf_efficientnet_lite1", "mobilenetv3_large_100_with_a_long_name")
NAMES = ["model", "lr", "batch_size", "label_smoothing"]


@pytest.fixture(params=[2.5, 10, 10_000])
def study(request: pytest.FixtureRequest) -> optuna.Study:
    """Trials whose learning rates span more or less of a logarithm's axis."""
    spaces: dict[str, BaseDistribution] = {
        "model": CategoricalDistribution(MODELS),
        "lr": FloatDistribution(1e-6, 1, log=True),
        "batch_size": IntDistribution(8, 64),
        "label_smoothing": FloatDistribution(0, 0.1),
    }
    made = optuna.create_study(direction="maximize")
    for number in range(9):
        values = {
            "model": MODELS[number % 3],
            "lr": 5e-5 * request.param ** (number / 8),
            "batch_size": 8 + 7 * number,
            "label_smoothing": 0.1 * (number % 2),
        }
        trial = optuna.create_trial(
            params=values, distributions=spaces, value=number / 10, user_attrs={"trial": 2 * number}
        )
        made.add_trial(trial)
    return made


def test_labels_of_slices_do_not_overlap_nor_leave_the_figure(study: optuna.Study) -> None:
    figure = param_plots.slices(study, NAMES, "val_macro_f1")
    assert [axis.get_xlabel() for axis in figure.axes if axis.axison] == NAMES
    _assert_readable(figure)


def test_other_figures_stay_within_their_edges(study: optuna.Study) -> None:
    for figure in (
        param_plots.best_so_far(study, "val_macro_f1"),
        param_plots.parallel_coordinates(study, NAMES, "val_macro_f1"),
        param_plots.pair(study, ["lr", "batch_size"], "val_macro_f1"),
    ):
        _assert_readable(figure)


def test_trials_have_their_numbers_in_the_sweep(study: optuna.Study) -> None:
    lines = param_plots.best_so_far(study, "val_macro_f1").axes[0].lines
    assert list(lines[1].get_xdata()) == [2 * number for number in range(9)]


def test_every_trial_is_a_line_and_the_best_is_the_darkest(study: optuna.Study) -> None:
    lines = [
        line
        for line in param_plots.parallel_coordinates(study, NAMES, "score").axes[0].lines
        if len(line.get_xdata()) == 5
    ]
    assert len(lines) == 9
    best = next(line for line in lines if line.get_ydata()[0] == 1)
    assert sum(best.get_color()) == min(sum(line.get_color()) for line in lines)


def _assert_readable(figure: Figure) -> None:
    """No two tick labels of an axis overlap, and nothing written is cut at the figure's edge."""
    FigureCanvasAgg(figure).draw()
    for axis in (each for each in figure.axes if each.axison):
        for one in (axis.xaxis, axis.yaxis):
            labels = [label for label in one.get_ticklabels() if label.get_text() and label.get_visible()]
            boxes = [label.get_window_extent() for label in labels]
            low, high = sorted(one.get_view_interval())
            shown = [
                (label, box)
                for label, box, place in zip(labels, boxes, one.get_majorticklocs(), strict=False)
                if low <= place <= high
            ]
            for label, box in shown:
                assert box.x0 >= 0, label
                assert box.x1 <= figure.bbox.x1, label
                assert box.y0 >= 0, label
            for (label, box), (other, next_box) in itertools.pairwise(shown):
                if not label.get_rotation():
                    assert not box.overlaps(next_box), (label, other)
