"""Whatever a file holds: a spec, or a RequestError. Never another exception."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweep_runner.errors import RequestError
from sweep_runner.spec.check import check_spec
from sweep_runner.spec.document import parse
from sweep_runner.spec.loader import dump_spec, load_resolved, load_spec
from tests.support.fuzz import OWN

PIECES = b"{}[],:#&*!|>'\"%@`?-\t\n \x00\xff\x85~$"
FRAGMENTS = [
    b"<<",
    b"*a",
    b"&a",
    b"!!python/none",
    b"...",
    b"---",
    b"1e999",
    b".nan",
    b".inf",
    b"9" * 30,
    b"null",
    b"${",
]

numbers = st.one_of(
    st.integers(),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-3, 70),
    st.floats(),
    st.sampled_from([0.0, 1e-300, 1e300, 5e-324, float("inf")]),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=8), st.sampled_from(["adam", "sgd", "~", "$X"]))
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
names = st.sampled_from(["optimizer", "momentum", "lr", "epochs", "noise", "epoch_s", "other"])
when = st.dictionaries(names, st.one_of(scalars, st.lists(scalars, max_size=3)), max_size=2)
ranges = st.fixed_dictionaries(
    {}, optional={"low": numbers, "high": numbers, "step": numbers, "log": st.booleans(), "when": when}
)
choices = st.fixed_dictionaries({"values": st.lists(scalars, max_size=4)}, optional={"when": when})
sections: dict[str, st.SearchStrategy[Any]] = {
    "name": st.just("fuzz") | anything,
    "trainable": st.just("synthetic"),
    "fixed": st.dictionaries(names, scalars, max_size=3) | anything,
    "space": st.dictionaries(names, st.one_of(ranges, choices, st.lists(scalars, max_size=3), scalars), max_size=5)
    | anything,
    "baselines": st.dictionaries(st.text(max_size=3), st.dictionaries(names, scalars, max_size=4), max_size=3),
    "search": st.fixed_dictionaries(
        {},
        optional={
            "sampler": st.sampled_from(["tpe", "grid", "qmc", "gp", "x"]) | anything,
            "trials": numbers,
            "seed": numbers,
            "options": st.dictionaries(st.sampled_from(["points", "group", "popsize"]), scalars, max_size=2) | anything,
        },
    ),
    "pruner": anything
    | st.fixed_dictionaries(
        {"kind": st.sampled_from(["hyperband", "patient", "median"])},
        optional={"patience": numbers, "min_epochs": numbers, "inner": anything},
    ),
    "objective": anything,
    "resources": st.dictionaries(st.sampled_from(["cpus", "gpus", "workers", "max_concurrent"]), scalars) | anything,
    "export": anything,
    "data": anything,
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "s.yaml"


def load_and_check(path: Path) -> None:
    """Ends with a plan that survives being written down, or with a RequestError."""
    try:
        plan = check_spec(load_spec(path))
    except RequestError:
        return
    resolved = path.with_name("resolved.yaml")
    resolved.write_text(dump_spec(plan.spec), encoding="utf-8")
    again = load_resolved(resolved)
    assert again.spec == plan.spec
    assert check_spec(again).spec == plan.spec


fuzz = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@fuzz
@given(content=st.binary(max_size=200))
def test_any_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    load_and_check(path)


@fuzz
@given(data=st.data())
def test_damaged_sweep_files(path: Path, data: st.DataObject) -> None:
    content = bytearray(OWN)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(content)))
        removed = data.draw(st.integers(0, 12))
        piece = data.draw(st.sampled_from([bytes([byte]) for byte in PIECES] + FRAGMENTS) | st.binary(max_size=3))
        content[position : position + removed] = piece
    path.write_bytes(bytes(content))
    load_and_check(path)


@fuzz
@given(values=st.fixed_dictionaries({}, optional=sections))
def test_random_structures(path: Path, values: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8", errors="surrogatepass")
    load_and_check(path)


@fuzz
@given(override=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30))
def test_any_override(path: Path, override: str) -> None:
    path.write_bytes(OWN)
    try:
        load_spec(path, [override])
        load_spec(path, [f"search.trials={override}"])
    except RequestError:
        return


@fuzz
@given(value=anything)
def test_what_a_common_yaml_writer_writes_is_read_as_it_was(value: Any) -> None:
    text = yaml.safe_dump({"key": value}, allow_unicode=True)
    try:
        read = parse(text, "f").value["key"]
    except RequestError:
        return
    if isinstance(value, bool | int | None):
        assert read == value


def span(bounds: tuple[float, float], step: float | None, log: bool, when: dict[str, Any]) -> dict[str, Any]:
    low, high = sorted(bounds)
    rest = {} if log or step is None else {"step": step}
    return {"low": low, "high": high, "log": log, "when": when, **rest}


positive = st.integers(1, 200) | st.floats(1e-6, 0.9) | st.sampled_from([1.0, 3.0, 0.1])
good_when = st.just({}) | st.sampled_from([{"optimizer": "sgd"}, {"optimizer": ["sgd", "adam"]}, {"epochs": 3}])
good_parameter = st.one_of(
    st.lists(positive, min_size=1, max_size=3, unique=True),
    positive,
    st.builds(span, st.tuples(positive, positive), st.none() | positive, st.booleans(), good_when),
    st.builds(
        lambda values, when: {"values": values, "when": when}, st.lists(positive, min_size=1, unique=True), good_when
    ),
)


@fuzz
@given(
    space=st.dictionaries(st.sampled_from(["lr", "epochs", "noise", "epoch_s", "momentum"]), good_parameter),
    sampler=st.sampled_from(["tpe", "grid"]),
)
def test_random_spaces(path: Path, space: dict[str, Any], sampler: str) -> None:
    space = {"optimizer": ["sgd", "adam"], **space}
    values = {"name": "fuzz", "trainable": "synthetic", "space": space, "search": {"sampler": sampler}}
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    load_and_check(path)
