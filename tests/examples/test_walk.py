"""The walk from the sweep file to the model in CONTRIBUTING names files and functions that are there."""

from __future__ import annotations

import ast
import re

import pytest

from tests.support.documents import ROOT

WALK = re.findall(
    r"^\| \d+ \| .+ \| `(.+\.py)`: `(\w+)` \|$", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE
)


def test_the_walk_has_ten_stops() -> None:
    assert len(WALK) == 10


@pytest.mark.parametrize(("file", "function"), WALK)
def test_each_stop_is_a_function_in_its_file(file: str, function: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert function in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
