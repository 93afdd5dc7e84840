"""Keeps pandas out of a command that has no use for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _NoPandas(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is left out here", name=fullname)
        return None


@contextmanager
def without_pandas() -> Iterator[None]:
    """While it is open, pandas is as if it were not installed, unless it is imported already.

    pyarrow.dataset and DuckDB do without it, but import it where they find it, which takes as long as a query over
    a hundred thousand trials. For commands only: a program that imports us may want its pandas.
    """
    if "pandas" in sys.modules:
        yield
        return
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
