"""From the sweep file's values to Optuna's and back."""

from __future__ import annotations

import warnings

from hypothesis import example, given
from hypothesis import strategies as st

from sweep_runner.search.distributions import at_unit, decode, distribution_of, encode, same_configuration_key
from sweep_runner.spec.space import Choice, FloatRange, IntRange

units = st.floats(0, 1, exclude_max=True)


@st.composite
def parameters(draw):
    kind = draw(st.sampled_from(["choice", "int", "float"]))
    if kind == "choice":
        scalars = st.sampled_from([True, False, 1, 0, 1.0, 2.5, "1", "true", None])
        return Choice(values=tuple(draw(st.lists(scalars, min_size=1, unique_by=lambda v: (type(v), v)))))
    log = draw(st.booleans())
    low = draw(st.integers(1 if log else -50, 50))
    high = low + draw(st.integers(0, 100))
    step = None if log else draw(st.sampled_from([None, 1, 3, 7]))
    if kind == "int":
        return IntRange(low=low, high=high, log=log, step=step)
    return FloatRange(low=low / 10, high=high / 10, log=log, step=step and step / 10)


@given(parameters(), units)
@example(FloatRange(low=0.0, high=0.3, step=0.1), 0.75)
def test_every_fraction_gives_a_value_of_the_parameter(parameter, unit) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        distribution = distribution_of(parameter)
    stored = at_unit(distribution, unit)
    assert distribution._contains(distribution.to_internal_repr(stored))
    value = decode(parameter, stored)
    assert parameter.contains(value)
    back = decode(parameter, encode(parameter, value))
    assert (type(back), back) == (type(value), value)


def test_both_ends_are_reached_and_steps_are_exact() -> None:
    last = 1 - 2**-53
    drop = FloatRange(low=0.0, high=0.55, step=0.1)
    assert [decode(drop, at_unit(distribution_of(drop), index / 6)) for index in range(6)] == [
        0.0, 0.1, 0.2, 0.3, 0.4, 0.5,
    ]  # fmt: skip
    for parameter, low, high in (
        (IntRange(low=1, high=1000, log=True), 1, 1000),
        (IntRange(low=32, high=230, step=32), 32, 224),
        (Choice(values=("a", "b", "c")), "a", "c"),
    ):
        distribution = distribution_of(parameter)
        assert (at_unit(distribution, 0), at_unit(distribution, last)) == (low, high)


def test_configurations_are_the_same_whatever_their_order() -> None:
    assert same_configuration_key({"a": 1, "b": True}) == same_configuration_key({"b": True, "a": 1})
    keys = {same_configuration_key({"a": value}) for value in (1, True, "1", None, "None")}
    assert len(keys) == 5
