"""Adding a sampler, a pruner or a tracker takes a function and one line of one table each."""

from __future__ import annotations

from pathlib import Path
from pkgutil import resolve_name

import pytest

from sweep_runner.spec.loggers import LOGGERS
from sweep_runner.spec.strategies import PRUNERS, SAMPLERS
from tests.support.adding import Copy

FILES = {
    "sweep_runner/search/rising.py": """
        import optuna


        class Rising(optuna.samplers.BaseSampler):
            def infer_relative_search_space(self, study, trial):
                return {}

            def sample_relative(self, study, trial, search_space):
                return {}

            def sample_independent(self, study, trial, name, distribution):
                return distribution.low + (distribution.high - distribution.low) * trial.number / 10


        def rising(spec, options, index_of):
            return Rising()
        """,
    "sweep_runner/search/odd_ones.py": """
        def odd_ones(options, case):
            return "its number is odd" if case.number % 2 else None
        """,
    "sweep_runner/tracking/lines.py": """
        class Lines:
            def __init__(self, sweep):
                self.file = (sweep.folder / "lines.txt").open("a")

            def trial_started(self, trial, params, name):
                pass

            def epoch_reported(self, trial, epoch, metrics):
                print(trial, epoch, file=self.file, flush=True)

            def trial_ended(self, trial, state, params, best):
                print(trial, state, file=self.file, flush=True)

            def sweep_ended(self, state):
                self.file.close()
        """,
}
STRATEGIES = "sweep_runner/spec/strategies.py"
LINES = {
    (STRATEGIES, "SAMPLERS"): '"rising": SamplerChoice(GridOptions, "sweep_runner.search.rising:rising")',
    (STRATEGIES, "PRUNERS"): 'OddOnes: "sweep_runner.search.odd_ones:odd_ones"',
    ("sweep_runner/spec/loggers.py", "LOGGERS"): '"lines": LoggerChoice("sweep_runner.tracking.lines:Lines")',
}
OPTIONS = '''class OddOnes(PrunerOptions):
    """Stops every other trial."""

    kind: Literal["odd_ones"]


class NoPruner('''
SWEEP = """
name: added
trainable: synthetic
fixed: {epochs: 2, epoch_s: 0}
space: {lr: {low: 0.1, high: 0.6}}
objective: {metric: val_accuracy, mode: max}
search: {sampler: rising, trials: 4}
pruner: odd_ones
loggers: [lines]
resources: {cpus: 1, max_concurrent: 1}
"""


@pytest.mark.ray
def test_one_of_each_runs_in_a_sweep(tmp_path: Path) -> None:
    copy = Copy(tmp_path, FILES, LINES)
    strategies = tmp_path / STRATEGIES
    strategies.write_text(strategies.read_text().replace("class NoPruner(", OPTIONS))
    (tmp_path / "added.yaml").write_text(SWEEP)
    copy.run("-m", "sweep_runner", "check", "added.yaml")
    copy.run("-m", "sweep_runner", "run", "added.yaml")
    query = "select trial, state, lr from trials order by trial"
    rows = copy.run("-m", "sweep_runner", "query", query, "--format", "csv").split()[1:]
    assert [row.split(",")[1] for row in rows] == ["COMPLETED", "PRUNED", "COMPLETED", "PRUNED"]
    assert [float(row.split(",")[2]) for row in rows] == pytest.approx([0.1, 0.15, 0.2, 0.25])
    told = (tmp_path / "results" / "added" / "trackers" / "lines" / "lines.txt").read_text().splitlines()
    assert {"0 1", "0 2", "0 COMPLETED", "1 1", "1 PRUNED"} <= set(told)
    assert "1 2" not in told


def test_every_line_of_the_tables_names_a_function() -> None:
    names = [
        *(each.made_by for each in SAMPLERS.values()),
        *PRUNERS.values(),
        *(each.made_by for each in LOGGERS.values()),
    ]
    assert all(callable(resolve_name(name)) for name in names)
