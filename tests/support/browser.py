"""A headless browser for tests of pages; tests that want one are skipped where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

PROGRAM = shutil.which("chromium") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(PROGRAM is None, reason="no chromium")


@contextmanager
def browser() -> Iterator[Any]:
    """Playwright's chromium."""
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox"])
        try:
            yield started
        finally:
            started.close()


@contextmanager
def page_of(started: Any, url: str, **context: Any) -> Iterator[Any]:
    """The page at a URL; when it is left, it must have told no error and fetched nothing from elsewhere."""
    told: list[str] = []
    fetched: list[str] = []
    tab = started.new_page(**context)
    tab.on("console", lambda message: told.append(message.text))
    tab.on("pageerror", lambda error: told.append(str(error)))
    tab.on("request", lambda request: fetched.append(request.url))
    tab.goto(url)
    yield tab
    tab.close()
    assert told == []
    assert [each for each in fetched if not each.startswith(("file:", "data:", "blob:"))] == []
