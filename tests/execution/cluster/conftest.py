"""Clusters of machines made of network namespaces."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.nodes import Lab, lab, why_not


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Lab]:
    """A head and a node called `second`, with one CPU each."""
    if reason := why_not():
        pytest.skip(reason)
    with lab() as made:
        made.start("second")
        yield made


@pytest.fixture
def own_lab() -> Iterator[Lab]:
    """Machines of this test alone, on which nothing runs yet."""
    if reason := why_not():
        pytest.skip(reason)
    with lab() as made:
        yield made
