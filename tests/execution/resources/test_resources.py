"""What a trial asks for, held against what the nodes have: before anything starts."""

from __future__ import annotations

from typing import Any

import pytest

from sweep_runner.errors import RequestError
from sweep_runner.execution.resources.slots import Node, resolve
from sweep_runner.spec.model import Resources

LAPTOP = [Node("laptop", 8, 0)]
BOX = [Node("box", 32, 4)]
PAIR = [Node("a", 4, 0), Node("b", 4, 0)]


@pytest.mark.parametrize(
    ("asked", "nodes", "at_a_time", "gpus"),
    [
        ({}, LAPTOP, 8, 0),
        ({"cpus": 3}, LAPTOP, 2, 0),
        ({"cpus": 0.5, "max_concurrent": 3}, LAPTOP, 3, 0),
        ({"cpus": 2}, BOX, 4, 1),
        ({"gpus": 0.25}, BOX, 16, 0.25),
        ({"workers": 4}, BOX, 1, 1),
        ({"workers": 2, "gpus": 0, "cpus": 4}, BOX, 4, 0),
        ({"cpus": 3}, PAIR, 2, 0),  # one a node: the last CPU of both together is no place
        ({"workers": 8}, PAIR, 1, 0),
        ({"workers": 3}, PAIR, 2, 0),
        ({"cpus": 1, "gpus": 1}, [*PAIR, *BOX], 4, 1),
    ],
)
def test_as_many_trials_run_at_a_time_as_nodes_have_room_for(
    asked: dict[str, Any], nodes: list[Node], at_a_time: int, gpus: float
) -> None:
    slot = resolve(Resources(**asked), nodes)
    assert (slot.max_concurrent, slot.gpus) == (at_a_time, gpus)


@pytest.mark.parametrize(
    ("asked", "nodes", "told"),
    [
        ({"cpus": 9}, LAPTOP, "one worker with 9 CPUs on one node, and there is room for none"),
        ({"gpus": 1}, LAPTOP, "no node has 1 gpus: lower resources.gpus"),
        ({"cpus": 6}, PAIR, "no node has 6 cpus"),  # the two have eight, but a worker is on one
        ({"workers": 9}, PAIR, "room for 8"),
        ({"workers": 5}, BOX, "lower resources.workers"),
        ({"workers": 3, "cpus": 3}, PAIR, "2 nodes with 4 CPUs"),
    ],
)
def test_what_can_never_be_placed_is_refused_with_what_there_is(
    asked: dict[str, Any], nodes: list[Node], told: str
) -> None:
    with pytest.raises(RequestError) as refused:
        resolve(Resources(**asked), nodes)
    assert told in str(refused.value.problems[0].message + " " + refused.value.problems[0].hint)


def test_of_several_numbers_of_workers_the_largest_must_fit_and_the_smallest_says_how_many_trials() -> None:
    assert resolve(Resources(), PAIR, workers=(2, 4)).max_concurrent == 4
    with pytest.raises(RequestError, match="9 worker"):
        resolve(Resources(), PAIR, workers=(1, 9))
