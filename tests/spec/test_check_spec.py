"""A sweep file held against its trainable."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sweep_runner.errors import RequestError
from sweep_runner.spec.check import check_spec, load_plan
from sweep_runner.spec.loader import dump_spec, load_resolved, load_spec
from sweep_runner.spec.plan import Plan
from sweep_runner.spec.space import Choice, FloatRange, IntRange
from sweep_runner.spec.strategies import Hyperband, Promotion

PlanOf = Callable[..., Plan]
Problems = Callable[..., str]


def test_a_good_file_becomes_a_plan(plan_of: PlanOf, folder: Path) -> None:
    plan = plan_of()
    assert plan.trainable.__name__ == "Own"
    assert plan.spec.space["momentum"] == FloatRange(low=0.5, high=0.9, when={"optimizer": ("sgd",)})
    assert plan.spec.space["batch_size"] == IntRange(low=8, high=64, step=8)
    assert plan.max_epochs == 9
    assert plan.grid_size is None
    assert plan.warnings == ("an mlp sees no neighbours",), "of all its combinations, once"
    config = plan.make_config({"net": "vit", "lr": 0.1, "batch_size": 16})
    assert config.model_dump(include={"net", "epochs", "lr", "momentum"}) == {
        "net": "vit",
        "epochs": 9,
        "lr": 0.1,
        "momentum": 0.9,
    }


def test_what_is_true_of_several_values_is_told_once_with_their_number(plan_of: PlanOf) -> None:
    (told,) = plan_of(None, "fixed.epochs=8", "space.net=[mlp, vit, cnn]").warnings
    assert told == "net: mlp, vit (2 of 3): it is slow"
    (told,) = plan_of(None, "fixed.epochs=8", "space.net=[mlp]").warnings
    assert told == "net: mlp: it is slow"


def test_candidates_are_what_each_key_can_be(plan_of: PlanOf) -> None:
    candidates = plan_of(
        None, "space.momentum={low: 0.5, high: 0.8, when: {optimizer: sgd}}", "baselines={}"
    ).candidates
    assert candidates["net"] == ("mlp", "vit")
    assert candidates["lr"] == (1e-4, 1.0)
    assert candidates["batch_size"] == (8, 16, 24, 32, 40, 48, 56, 64)
    assert candidates["epochs"] == (9,)
    assert candidates["nesterov"] == (False,)
    assert candidates["momentum"] == (0.5, 0.8, 0.9)  # the default, too: it holds where momentum does not exist


def test_numbers_take_the_kind_of_their_field(plan_of: PlanOf) -> None:
    plan = plan_of(
        None,
        "space.lr={low: 1, high: 10, log: true}",
        "space.batch_size={low: 8.0, high: 6.4e1, step: 8}",
        "space.momentum=[0, 0.9]",
        "baselines={b: {net: mlp, pooling: avg, optimizer: adam, momentum: 0, lr: 1, batch_size: 8}}",
    )
    assert repr(plan.spec.space["lr"]) == repr(FloatRange(low=1, high=10, log=True))
    assert repr(plan.spec.space["batch_size"]) == repr(IntRange(low=8, high=64, step=8))
    assert repr(plan.spec.space["momentum"]) == repr(Choice(values=(0.0, 0.9)))
    assert repr(plan.spec.baselines["b"]["momentum"]) == "0.0"
    assert repr(plan.spec.baselines["b"]["lr"]) == "1.0"


def test_paths_become_absolute_from_the_working_directory(plan_of: PlanOf, folder: Path) -> None:
    plan = plan_of(
        None,
        "space.weights=[false, w/a.pth]",
        "space.seed={values: [1], when: {weights: w/a.pth}}",
        "baselines={b: {net: mlp, pooling: avg, optimizer: adam, lr: 1, batch_size: 8, weights: w/a.pth}}",
    )
    assert plan.spec.data["root"] == str(folder / "pictures")
    absolute = str(folder / "w/a.pth")
    assert plan.spec.space["weights"] == Choice(values=(False, absolute))
    assert plan.spec.space["seed"].when == {"weights": (absolute,)}
    assert plan.spec.baselines["b"]["weights"] == absolute
    assert plan.candidates["weights"] == (False, Path(absolute))


def test_baselines_are_completed_with_constants_and_without_fixed_keys(plan_of: PlanOf) -> None:
    baselines = plan_of(None, "space.nesterov=false", "baselines.known.epochs=9").spec.baselines
    assert baselines["known"]["nesterov"] is False
    assert "epochs" not in baselines["known"]


def test_the_mode_is_known_for_a_known_metric(plan_of: PlanOf) -> None:
    assert plan_of(None, "objective.metric=val_loss").spec.objective.mode == "min"


def test_hyperband_takes_its_epochs_from_the_sweep(plan_of: PlanOf) -> None:
    assert plan_of(None, "pruner=hyperband").spec.pruner == Hyperband(kind="hyperband", max_epochs=9)
    inner = plan_of(None, "pruner={kind: patient, patience: 1, inner: {kind: hyperband}}").spec.pruner
    assert inner.model_dump()["inner"]["max_epochs"] == 9


def test_the_grid_counts_conditions(plan_of: PlanOf) -> None:
    text = """
        name: x
        trainable: own_trainable:Own
        space:
          optimizer: [adam, sgd, lion]
          momentum: {low: 0.5, high: 0.9, step: 0.1, when: {optimizer: [sgd, lion]}}
          nesterov: {values: [true, false], when: {optimizer: sgd}}
          net: [mlp, vit]
        search: {sampler: grid, trials: 100}
    """
    assert plan_of(text).grid_size == 2 * (1 + 5 * 2 + 5)
    with_points = plan_of(text, "space.lr={low: 1e-4, high: 1, log: true}", "search.options.points=4")
    assert with_points.grid_size == 4 * 2 * (1 + 5 * 2 + 5)
    assert "search.trials stops the grid after 100 of its 128 configurations" in with_points.warnings


def test_few_settings_and_late_rungs_are_warned_of(plan_of: PlanOf) -> None:
    text = """
        name: x
        trainable: own_trainable:Own
        space: {net: [mlp, vit]}
        pruner: {kind: successive_halving, min_epochs: 9}
    """
    warnings = "\n".join(plan_of(text).warnings)
    assert "the space has 2 distinct configurations, fewer than 20 trials" in warnings
    assert "the pruner's first rung is epoch 9 of 3: it cannot stop a trial early" in warnings


def test_a_file_without_a_space_is_told_what_is_missing(plan_of: PlanOf) -> None:
    text = "name: x\ntrainable: own_trainable:Own\n"
    assert "no space, so there is nothing to search: one trial runs, not 20" in "\n".join(plan_of(text).warnings)
    assert not plan_of(text, "search.trials=1").warnings


def test_promotion_gets_its_first_rung_and_groups_and_refuses_unknown_ones(plan_of: PlanOf) -> None:
    text = """
        name: x
        trainable: own_trainable:Own
        space: {net: [mlp, vit]}
        pruner: {kind: promotion, group_by: [net]}
    """
    pruner = plan_of(text).spec.pruner
    assert isinstance(pruner, Promotion)
    assert (pruner.min_epochs, pruner.group_by) == (1, ("net",))
    with pytest.raises(RequestError, match=r"group_by: 'nett' is not a parameter of the space") as raised:
        plan_of(text, "pruner.group_by=[nett]")
    assert "net" in str(raised.value).partition("parameter of the space")[2]


def test_a_checked_spec_loads_back_and_checks_to_itself(plan_of: PlanOf, folder: Path) -> None:
    plan = plan_of(None, "pruner=hyperband", "space.weights=[false, w/a.pth]", "baselines.known.weights=false")
    Path("resolved.yaml").write_text(dump_spec(plan.spec))
    assert load_resolved(Path("resolved.yaml")).spec == plan.spec
    assert check_spec(load_resolved(Path("resolved.yaml"))).spec == plan.spec


def test_each_shipped_trainable_can_be_named(folder: Path) -> None:
    Path("s.yaml").write_text("name: x\ntrainable: synthetic\nspace: {lr: {low: 0.001, high: 1}}")
    assert check_spec(load_spec(Path("s.yaml"))).trainable.__name__ == "Synthetic"
    assert check_spec(load_spec(Path("s.yaml"), ["trainable=image_classifier"])).trainable.__name__ == "ImageClassifier"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "trainable=synthetik",
            "'synthetik' is neither built in (image_classifier, synthetic) nor package.module:attribute",
        ),
        ("trainable=synthetik", "Did you mean synthetic?"),
        ("fixed.epoch=3", "own_trainable:Own has no hyperparameter 'epoch'\n    Did you mean epochs?"),
        ("space.poling=[avg]", "own_trainable:Own has no hyperparameter 'poling'\n    Did you mean pooling?"),
        ("space.epochs=[3]", "epochs is in both space and fixed: remove one of them"),
        ("fixed.epochs=0", "fixed.epochs is 0: must be at least 1"),
        ("fixed.epochs=ten", "fixed.epochs is 'ten': must be a whole number"),
        ("fixed.epochs='10'", "fixed.epochs is '10': must be a whole number"),
        ("fixed.epochs=true", "fixed.epochs is true: must be a whole number"),
        ("fixed.epochs=2.5", "fixed.epochs is 2.5: must be a whole number"),
        ("fixed.epochs=[3, 5]", "Parameters of the search belong under space."),
        ("fixed.nesterov=1", "fixed.nesterov is 1: must be true or false"),
        ("space.net=[mlp, 5]", "space.net is 5: must be text"),
        (
            "space.pooling=[avg, maxx]",
            "space.pooling is 'maxx': must be one of avg, max, catavgmax\n    Did you mean max?",
        ),
        ("space.mixed_precision=[false, bf16]", "space.mixed_precision is false: must be one of no, bf16"),
        ("space.lr={low: 0, high: 1}", "space.lr.low is 0: must be above 0"),
        ("space.lr={low: 1, high: 100}", "space.lr.high is 100: must be at most 10"),
        ("space.net={low: 1, high: 2}", "space.net.low is 1: must be text"),
        (
            "space.batch_size={low: 8, high: 64}",
            "space.batch_size is 9: must be a multiple of 8 (the range includes it)",
        ),
        ("space.seed={low: 0.5, high: 2}", "space.seed.low is 0.5: must be"),
        ("space.seed={low: 0.0, high: 3.0, step: 1.5}", "space.seed: this range holds fractions"),
        ("space.momentum=[0.5, 0.50]", "space.momentum: 0.5 is listed twice"),
        ("space.lr=[1, 1.0]", "space.lr: 1.0 is listed twice"),
        ("space.momentum.when={optimiser: sgd}", "space.momentum.when: 'optimiser' is neither in the space nor fixed"),
        ("space.momentum.when={optimiser: sgd}", "Did you mean optimizer?"),
        (
            "space.momentum.when={optimizer: sgdd}",
            "space.momentum.when.optimizer is 'sgdd': optimizer never has it (one of adam, sgd)\n    Did you mean s",
        ),
        ("space.momentum.when={optimizer: lion}", "optimizer never has it (one of adam, sgd)"),
        ("space.momentum.when={epochs: 5}", "epochs is fixed to 9: momentum would never apply"),
        ("space.momentum.when={momentum: 0.5}", "circular conditions: momentum → momentum"),
        (
            "space.optimizer={values: [adam, sgd], when: {momentum: 0.5}}",
            "circular conditions: optimizer → momentum → optimizer",
        ),
        ("baselines.known.lr=5", "baselines.known.lr is 5.0: outside the space (0.0001 to 1.0, log)"),
        (
            "baselines.known.net=mpl",
            "baselines.known.net is 'mpl': outside the space (one of mlp, vit)\n    Did you mean mlp?",
        ),
        ("baselines.known.batch_size=12", "baselines.known.batch_size is 12: outside the space (8 to 64, step 8)"),
        ("baselines.known.poolin=avg", "baselines.known has no key 'poolin'\n    Did you mean pooling?"),
        ("baselines.known.seed=1", "baselines.known.seed: seed is not in the space"),
        ("baselines.known.epochs=8", "baselines.known.epochs is 8: must be 9, as under fixed"),
        ("baselines.known={net: mlp}", "baselines.known: lr is missing"),
        ("search.trials=0", "search.trials is 0: must be at least 1"),
        ("objective.metric=val_acuracy", "objective.metric is 'val_acuracy': own_trainable:Own does not report it"),
        ("objective.metric=val_acuracy", "Did you mean val_accuracy?"),
        ("objective={metric: val_loss, mode: max}", "objective.mode is max, but val_loss is better the other way: min"),
        ("pruner={kind: hyperband, min_epochs: 10}", "pruner.min_epochs is 10: above max_epochs (9)"),
        ("data.rot=x", "data has no key 'rot'\n    Did you mean root?"),
        ("data.view=crop", "data.view is 'crop': must be one of images, crops\n    Did you mean crops?"),
        ("data.split.trian=1", "data.split has no key 'trian'\n    Did you mean train?"),
        ("data.split.train=0", "data.split.train is 0: must be above 0"),
        ("space.pooling=[avg, catavgmax]", "space.pooling: catavgmax does not go with vit: use avg or max"),
    ],
)
def test_a_problem_is_told_with_the_override_that_made_it(problems_of: Problems, override: str, expected: str) -> None:
    text = problems_of(None, override)
    assert expected in text
    assert f"--set {override}: " in text


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["space.nesterov=[true, false]", "space.momentum.low=0"], "nesterov: true with momentum 0: it needs momentum"),
        (
            ["baselines.known.optimizer=adam"],
            "baselines.known.momentum: exists only when optimizer is 's",
        ),
        (["search.sampler=grid"], "sweep.yaml:10: space.lr: a grid needs a finite number of values, but this is a"),
        (["fixed.optimizer=sgd"], "sweep.yaml:8: optimizer is in both space and fixed"),
    ],
)
def test_a_problem_between_two_keys_is_told(problems_of: Problems, overrides: list[str], expected: str) -> None:
    assert expected in problems_of(None, *overrides)


def test_a_bad_condition_does_not_make_baselines_wrong(problems_of: Problems) -> None:
    text = problems_of(None, "space.momentum.when={optimizer: lion}")
    assert "baselines" not in text


def test_values_and_combinations_are_named_at_their_line(problems_of: Problems) -> None:
    text = problems_of(
        """\
        name: x
        trainable: own_trainable:Own
        space:
          net:
            - mlp
            - vit
          pooling:
            - avg
            - maxi
            - catavgmax
          momentum:
            values: [0.5]
            when:
              net: cnn
        """
    )
    assert text.splitlines() == [
        "sweep.yaml:9: space.pooling is 'maxi': must be one of avg, max, catavgmax",
        "    Did you mean max?",
        "sweep.yaml:10: space.pooling: catavgmax does not go with vit: use avg or max",
        "sweep.yaml:14: space.momentum.when.net is 'cnn': net never has it (one of mlp, vit)",
    ]


def test_a_combination_that_conditions_exclude_is_no_problem(plan_of: PlanOf) -> None:
    plan_of(
        """
        name: x
        trainable: own_trainable:Own
        fixed: {pooling: avg}
        space:
          net: [mlp, vit]
        """
    )
    plan = plan_of(
        """
        name: x
        trainable: own_trainable:Own
        space:
          net: [mlp, vit]
          pooling: {values: [catavgmax], when: {net: mlp}}
        """
    )
    assert plan.grid_size == 2


def test_more_baselines_than_trials_is_a_problem(problems_of: Problems) -> None:
    twin = "baselines.twin={net: vit, pooling: max, optimizer: adam, lr: 1, batch_size: 32}"
    text = problems_of(None, twin, "search.trials=1")
    assert "--set search.trials=1: search.trials is 1: fewer than the 2 baselines" in text


def test_a_config_without_epochs_needs_hyperbands_own(problems_of: Problems, folder: Path) -> None:
    module = Path("own_trainable.py").read_text().replace("    epochs: int = Field(3, ge=1)\n", "    rate: float\n")
    Path("own_trainable.py").write_text(module)
    text = problems_of("name: x\ntrainable: own_trainable:Own\nspace: {net: [mlp]}\npruner: hyperband")
    assert "hyperband needs max_epochs" in text
    assert "own_trainable:Own needs rate: put it under fixed or into the space" in text


def test_a_huge_grid_is_refused(problems_of: Problems) -> None:
    text = problems_of("""
        name: x
        trainable: own_trainable:Own
        space:
          seed: {low: 0, high: 9000000000000000000}
          epochs: {low: 1, high: 9000000000000000000}
        search: {sampler: grid}
    """)
    assert "more than the maximum of 100,000" in text


def test_the_problem_of_a_users_module_is_told_without_a_traceback(problems_of: Problems, folder: Path) -> None:
    Path("broken.py").write_text("import nothing_like_this\n")
    assert "importing broken raised ModuleNotFoundError" in problems_of(None, "trainable=broken:Own")


def test_keys_in_groups_are_combined_within_each_group_alone(problems_of: Problems) -> None:
    """The image classifier checks models apart from optimizers: the combinations do not multiply."""
    text = """
        name: grouped
        trainable: image_classifier
        data: {dataset: digits}
        fixed: {pretrained: false}
        space:
          model: [simple_cnn3, resnet18, vit_tiny_patch16_224]
          pooling: [avg, token]
          optimizer: [adam, sgd, adagad]
          momentum: [0.0, 0.9]
          nesterov: [false, true]
        objective: {metric: val_accuracy, mode: max}
    """
    told = problems_of(text)
    assert "resnet18 does not support token" in told
    assert "did you mean adagrad" in told
    assert "nesterov needs a momentum above 0" in told


def test_a_wrong_section_hides_no_problem_of_another(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        "name: x\n"
        "trainable: synthetic\n"
        "search: {sampler: tpee, trials: 1}\n"
        "fixed: {epochs: -2}\n"
        "space: {lr: [0.1], optimizer: [adam, sgd], momentum: {values: [0.5], when: {optimizer: rmsprop}}}\n"
        "objective: {metric: val_acuracy}\n"
        "baselines: {one: {lr: 0.1, optimizer: adam}, two: {lr: 0.3, optimizer: adam}}\n"
        "resources: {cpus: none}\n"
    )
    with pytest.raises(RequestError) as found:
        load_plan(path)
    lines = [problem.where.rpartition(":")[2] for problem in found.value.problems]
    assert lines == ["3", "4", "5", "6", "7", "8"], "each once, and nothing that only follows from another"


def test_what_follows_from_a_wrong_section_is_not_told(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        "name: x\ntrainable: synthetic\nfixed: {epochs: 3}\n"
        "space: {lr: {low: 1, high: 0}, momentum: {values: [0.5], when: {lr: 1}}}\n"
        "baselines: {one: {lr: 0.1, momentum: 0.5}}\n"
    )
    with pytest.raises(RequestError) as found:
        load_plan(path)
    assert len(found.value.problems) == 1


def test_a_wrong_entry_hides_no_other_entry_of_its_section(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        "name: x\n"
        "data:\n"
        "  root: $NOT_SET_X\n"
        "  splitt: {train: 0.5}\n"
        "fixed:\n"
        "  epochs: ten\n"
        "  pretrained: yes\n"
        "space:\n"
        "  lr: {low: 1, high: 0.1}\n"
        "  modle: [resnet50]\n"
        "  batch_sise: {low: 8, high: 4}\n"
        "  pooling: [avg, maxx]\n"
        "baselines:\n"
        "  one: [lr]\n"
        "  two: {lr: 0.1, poling: avg}\n"
    )
    with pytest.raises(RequestError) as found:
        load_plan(path)
    lines = [int(problem.where.rpartition(":")[2]) for problem in found.value.problems]
    assert lines == [3, 4, 6, 7, 9, 10, 11, 11, 12, 14, 15], "each once; line 11 has a wrong name and a wrong range"
    assert "'yes' is text, the name of a weight file. Did you mean true?" in str(found.value)


def test_a_folder_that_is_missing_hides_no_misspelt_key(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(f"name: x\ndata:\n  root: {tmp_path}/nothing\n  clases: [a]\n  split: {{tran: 0.5}}\n")
    with pytest.raises(RequestError) as found:
        load_plan(path)
    assert [problem.where.rpartition(":")[2] for problem in found.value.problems] == ["3", "4", "5"]


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("class_weight: 3", "Did you mean data.balance.strategy: class_weights?"),
        ("epoch: 3", "Did you mean fixed.epochs or space.epochs?"),
        ("trials: 3", "It belongs here: search.trials."),
        ("sampler: tpe", "It belongs here: search.sampler."),
        ("serch: {trials: 3}", "Did you mean search?"),
        ("zzz: 3", "Valid: name, data, trainable, fixed,"),
        ("data: {class_weight: true}", "Did you mean data.balance.strategy: class_weights?"),
        ("data: {batch_size: 3}", "It belongs here: fixed.batch_size or space.batch_size."),
        ("data: {balance: class_weight}", "did you mean balance: class_weights?"),
        ("data: {balance: {class_weight: true}}", "did you mean balance: class_weights?"),
        ("fixed: {learning_rate: 0.1}", "Did you mean fixed.lr or space.lr?"),
        ("fixed: {gpus: 1}", "It belongs here: resources.gpus."),
        ("space: {image_size: [64, 96]}", "Did you mean fixed.input_resolution or space.input_resolution?"),
        ("search: {max_concurrent: 3}", "It belongs here: resources.max_concurrent."),
        ("search: {stop: {afte: 3min}}", "Did you mean after?"),
        ("dashboard: yes", "Did you mean true?"),
        ("data: {split: {train: 0.5, vla: 0.2}}", "data.split has no key 'vla'\n    Did you mean val?"),
        ("fixed: {pretrained: no, finetune: scratch}", "'no' is text, the name of a weight file. Did you mean false?"),
    ],
)
def test_an_unknown_key_is_told_where_it_belongs(tmp_path: Path, written: str, hint: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(f"name: x\n{written}\n")
    with pytest.raises(RequestError) as found:
        load_plan(path, suggest=False)
    assert hint in str(found.value)


def test_training_anew_needs_a_trainable_that_can(problems_of: Problems) -> None:
    assert "export.refit is true" in (told := problems_of(None, "export.refit=true"))
    assert "has no method `refit`" in told


def test_training_anew_is_filled_in(plan_of: PlanOf) -> None:
    assert plan_of().spec.export.refit is False
