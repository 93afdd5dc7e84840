"""Sweep file → spec: short forms, overrides, paths, and what is wrong with a file in itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sweep_runner.errors import RequestError
from sweep_runner.spec.loader import LoadedSpec, dump_spec, load_resolved, load_spec
from sweep_runner.spec.space import Choice, FloatRange, IntRange
from sweep_runner.spec.strategies import Hyperband, Median, NoPruner, Patient

Load = Callable[..., LoadedSpec]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load_text(text: str, *overrides: str) -> LoadedSpec:
        path = tmp_path / "s.yaml"
        path.write_text(text)
        return load_spec(path, overrides)

    return load_text


@pytest.fixture
def wrong(load: Load, tmp_path: Path) -> Callable[..., str]:
    """The text of all problems, with `s.yaml` for the file's path."""

    def problems(text: str, *overrides: str) -> str:
        with pytest.raises(RequestError) as caught:
            load(text, *overrides)
        return str(caught.value).replace(str(tmp_path / "s.yaml"), "s.yaml")

    return problems


def space_of(load: Load, entry: str) -> object:
    return load(f"name: x\nspace: {{p: {entry}}}").spec.space["p"]


def test_short_forms_of_the_space(load: Load) -> None:
    assert space_of(load, "[a, 1, 2.5, true, null]") == Choice(values=("a", 1, 2.5, True, None))
    assert space_of(load, "[no, bf16]") == Choice(values=("no", "bf16"))
    assert space_of(load, "{values: [a, b]}") == Choice(values=("a", "b"))
    assert space_of(load, "5") == Choice(values=(5,))
    assert space_of(load, "{low: 1, high: 9, step: 2}") == IntRange(low=1, high=9, step=2)
    assert space_of(load, "{low: 1, high: 9, step: 0.5}") == FloatRange(low=1, high=9, step=0.5)
    assert space_of(load, "{low: 1e-5, high: 1, log: true}") == FloatRange(low=1e-5, high=1, log=True)
    assert space_of(load, "{values: [1], when: {q: a}}") == Choice(values=(1,), when={"q": ("a",)})
    assert space_of(load, "{values: [1], when: {q: [a, b]}}") == Choice(values=(1,), when={"q": ("a", "b")})


def test_a_choice_keeps_one_and_true_apart(load: Load) -> None:
    assert space_of(load, "[1, true]") == Choice(values=(1, True))


def test_a_pruner_may_be_its_name(load: Load) -> None:
    assert load("name: x\npruner: median").spec.pruner == Median(kind="median")
    assert load("name: x\npruner: none").spec.pruner == NoPruner()
    inner = load("name: x\npruner: {kind: patient, patience: 2, inner: {kind: hyperband}}").spec.pruner
    assert inner == Patient(kind="patient", patience=2, inner=Hyperband(kind="hyperband"))


def test_an_empty_section_counts_as_left_out(load: Load) -> None:
    assert load("name: x\ndata:\nsearch:\nspace:\npruner:\n").spec == load("name: x").spec


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("space: {a: [1]}", "s.yaml: name is missing"),
        ("name: x\ntrianable: synthetic", "s.yaml:2: a sweep file has no key 'trianable'\n    Did you mean trainable?"),
        ("name: a b", "s.yaml:1: name is 'a b': must be 1 to 100 letters"),
        ("name: ../up", "s.yaml:1: name is '../up': must be"),
        ("name: x\nsearch:\n  trials: many", "s.yaml:3: search.trials is 'many': must be a whole number"),
        ("name: x\nsearch: {trials: 0}", "search.trials is 0: must be at least 1"),
        ("name: x\nsearch: {trials: true}", "search.trials is true: must be a whole number"),
        ("name: x\nsearch: {sampler: tpee}", "search.sampler is 'tpee': must be one of guided, tpe, random"),
        ("name: x\nsearch: {sampler: [tpe]}", "search.sampler is ['tpe']: must be one of"),
        (
            "name: x\nsearch: {sampler: tpe, options: {multivariat: true}}",
            "search.options has no key 'multivariat'\n    Did you mean m",
        ),
        ("name: x\nsearch: {sampler: qmc, options: {sequence: sobel}}", "search.options.sequence is 'sobel': must be"),
        ("name: x\nobjective: {mode: maximize}", "objective.mode is 'maximize': must be one of min, max"),
        ("name: x\npruner: medain", "s.yaml:2: pruner.kind is 'medain': must be one of none"),
        ("name: x\npruner: medain", "Did you mean median?"),
        ("name: x\npruner: {min_epochs: 1}", "must be a mapping with a key kind"),
        ("name: x\npruner: {kind: median, eta: 3}", "pruner has no key 'eta'\n    Valid: kind, startup_trials"),
        ("name: x\npruner: threshold", "a threshold pruner needs lower or upper"),
        ("name: x\nresources: {cpus: 1.5}", "resources.cpus: 1.5 is neither whole nor a fraction below 1"),
        ("name: x\nresources: {gpus: 1.5}", "resources.gpus: 1.5 is neither whole nor a fraction below 1"),
        ("name: x\nresources: {gpus: all}", "resources.gpus is 'all': must be auto or a number"),
        ("name: x\nresources: {cpus: .inf}", "resources.cpus is inf: must be finite"),
        ("name: x\nresources: {max_concurrent: 0}", "resources.max_concurrent is 0: must be auto or at least 1"),
        (
            "name: x\nexport: {formats: [onx]}",
            "export.formats.0 is 'onx': must be one of onnx, onnx-int8, onnx-fp16, openvino or auto\n"
            "    Did you mean onnx?",
        ),
        ("name: x\nspace: [a]", "s.yaml:2: space is ['a']: must be a mapping of keys"),
        ("name: x\nspace: {p: []}", "space.p lists no values"),
        ("name: x\nspace: {p: [[1]]}", "space.p: the value [1] must be one plain value"),
        ("name: x\nspace: {p: [a, a]}", "space.p: 'a' is listed twice"),
        ("name: x\nspace: {p: {low: 5, high: 1}}", "space.p: low 5 is above high 1: low must not exceed high"),
        ("name: x\nspace: {p: {low: 0, high: 1, log: true}}", "space.p: low 0 with log: true, but a logarithm needs"),
        ("name: x\nspace: {p: {low: 0.1, high: 1, log: true, step: 0.1}}", "step and log: true together"),
        ("name: x\nspace: {p: {low: 0, high: 1, step: 0}}", "step 0: must be above 0"),
        ("name: x\nspace: {p: {low: a, high: 1}}", "space.p.low is 'a': must be a number"),
        ("name: x\nspace: {p: {low: 1}}", "space.p.high is missing"),
        ("name: x\nspace: {p: {low: 1, hihg: 2}}", "space.p has no key 'hihg'\n    Did you mean high?"),
        ("name: x\nspace: {p: {choices: [1]}}", "space.p is {'choices': [1]}: must be a list of values"),
        ("name: x\nspace: {p: {low: 0, high: .inf}}", "low, high and step must be finite"),
        ("name: x\nspace: {p: {values: a}}", "space.p.values is 'a': must be a list"),
        ("name: x\nspace: {p: {values: [1], when: sgd}}", "space.p.when is 'sgd': must be a mapping"),
        ("name: x\nspace: {p: {values: [1], when: {q: []}}}", "space.p.when.q is []: must be a value or a list"),
        ("name: x\nbaselines: {b: {p: [1]}}", "baselines.b.p is [1]: must be one plain value"),
        ("name: x\nbaselines: {b: 5}", "baselines.b is 5: must be a mapping of keys"),
    ],
)
def test_what_is_wrong_is_told_with_place_value_rule_and_spelling(
    wrong: Callable[..., str], text: str, expected: str
) -> None:
    assert expected in wrong(text)


def test_all_problems_come_at_once_in_the_order_of_the_file(wrong: Callable[..., str]) -> None:
    text = wrong(
        "nmae: x\nsearch: {trials: 0}\nspace:\n  a: {low: 2, high: 1}\n  b: []\n"
        "resources: {cpus: 0}\ndata: {r: $NOT_SET_X}"
    )
    lines = [line.split(": ")[0] for line in text.splitlines() if line.startswith("s.yaml")]
    assert lines == ["s.yaml", "s.yaml:1", "s.yaml:2", "s.yaml:4", "s.yaml:5", "s.yaml:6", "s.yaml:7"]


def test_set_overrides_and_creates_keys(load: Load) -> None:
    loaded = load(
        "name: x\nspace: {model: [a, b]}\n",
        "search.trials=4",
        "data.root=/pics",
        "data.split.train=0.5",
        "space.lr={low: 1e-4, high: 1e-1, log: true}",
        "space.model.1=c",
        "fixed.note=",
        "pruner=median",
    )
    assert loaded.spec.search.trials == 4
    assert loaded.spec.data == {"root": "/pics", "split": {"train": 0.5}}
    assert loaded.spec.space["lr"] == FloatRange(low=1e-4, high=1e-1, log=True)
    assert loaded.spec.space["model"] == Choice(values=("a", "c"))
    assert loaded.spec.fixed == {"note": None}
    assert loaded.spec.pruner == Median(kind="median")


def test_a_later_override_wins(load: Load) -> None:
    assert load("name: x", "search.trials=4", "search.trials=5").spec.search.trials == 5
    assert load("name: x", "search.trials=4", "search={seed: 1}").spec.search.trials == 20


def test_a_baseline_is_left_out_by_null(load: Load) -> None:
    assert load("name: x\nbaselines: {a: {lr: 1}, b: {lr: 2}}", "baselines.a=null").spec.baselines == {"b": {"lr": 2}}


def test_set_does_not_change_what_an_alias_shares(load: Load) -> None:
    loaded = load("name: x\nbaselines:\n  a: &a {lr: 1}\n  b: *a\n", "baselines.b.lr=2")
    assert loaded.spec.baselines == {"a": {"lr": 1}, "b": {"lr": 2}}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("search.trials=0", "--set search.trials=0: search.trials is 0: must be at least 1"),
        ("search.trails=3", "--set search.trails=3: search has no key 'trails'\n    Did you mean trials?"),
        ("search", "--set search: must be KEY=VALUE"),
        ("=4", "--set =4: must be KEY=VALUE"),
        ("a..b=4", "--set a..b=4: must be KEY=VALUE"),
        ("name.first=x", "--set name.first=x: name is 'x', which has no keys below it"),
        ("space.m.7=x", "--set space.m.7=x: space.m is a list of 2"),
        ("fixed.a=[1", "--set fixed.a=[1: not valid YAML"),
        ("fixed.a=!!python/none x", "the tag '!!python/none' is not allowed"),
    ],
)
def test_a_bad_override_is_the_place_of_the_problem(wrong: Callable[..., str], override: str, expected: str) -> None:
    assert expected in wrong("name: x\nspace: {m: [a, b]}", override)


def test_variables_and_home_are_expanded_in_paths(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICTURES", "/mnt/p$X")
    monkeypatch.setenv("HOME", "/home/me")
    spec = load(
        "name: x\ndata: {root: ~/d, other: '${PICTURES}/a', deep: {list: [$PICTURES, 'cost $5 ~ x']}}\n"
        "fixed: {pretrained: ~/w.pth}\nspace: {weights: [~/a.pth, true], b: {values: [1], when: {weights: ~/a.pth}}}\n"
    ).spec
    assert spec.data == {"root": "/home/me/d", "other": "/mnt/p$X/a", "deep": {"list": ["/mnt/p$X", "cost $5 ~ x"]}}
    assert spec.fixed == {"pretrained": "/home/me/w.pth"}
    assert spec.space["weights"] == Choice(values=("/home/me/a.pth", True))
    assert spec.space["b"].when == {"weights": ("/home/me/a.pth",)}


def test_a_variable_that_is_not_set_is_a_problem(wrong: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET_X", raising=False)
    text = wrong("name: x\ndata:\n  root: ${NOT_SET_X}/a\n")
    assert text.startswith("s.yaml:3: the environment variable NOT_SET_X is not set (in '${NOT_SET_X}/a')")


def test_a_variable_that_is_not_utf8_is_a_problem(wrong: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODD", "\udcff")
    assert "ODD is not UTF-8 text" in wrong("name: x\ndata: {root: $ODD}")


def test_the_home_of_nobody_is_a_problem(wrong: Callable[..., str]) -> None:
    assert "no home folder of '~nobody-here'" in wrong("name: x\ndata: {root: ~nobody-here/x}")


def test_what_is_dumped_loads_back_equal(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODD", "~/$ODD")  # what was expanded once is not expanded again
    spec = load(
        "name: x\ndata: {root: '$ODD/a', text: 'no', number: '1e-3', old: '012', time: '1:30', yes: 'on', n: null}\n"
        "fixed: {epochs: 3, big: 1e30, small: 1e-7, list: [1, [2.0, '2']]}\n"
        "space: {p: [no, '1', 1, 1.0e+10, true, null, 'é\u2028\\t'], lr: {low: 1e-5, high: 1, log: true},\n"
        "  n: {low: 1, high: 9, when: {p: ['1', no]}}}\n"
        "baselines: {b: {p: no, lr: 1}}\n"
        "pruner: {kind: patient, patience: 1, inner: {kind: median}}\n"
        "search: {sampler: qmc, options: {scramble: false}}\n"
    ).spec
    path = tmp_path / "resolved.yaml"
    path.write_text(dump_spec(spec), encoding="utf-8")
    assert load_resolved(path).spec == spec
    assert repr(load_resolved(path).spec) == repr(spec)
