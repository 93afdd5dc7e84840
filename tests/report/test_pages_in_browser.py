"""The pages beside the report, in a real browser: they fit every screen, follow the theme, and have no errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweep_runner.report.data_page import write_data_page
from sweep_runner.report.sweeps_page import write_sweeps_page
from sweep_runner.results.paths import ResultsPaths
from tests.support.browser import browser, needs_browser
from tests.support.evaluated import write_evaluated_sweep
from trainables.contract import Preparation
from trainables.look import Section

CLASSES = ("basket", "tennis", "golf")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("pages")
    for name in ("balls", "more-balls"):
        write_evaluated_sweep(root, CLASSES, name=name)
    results = ResultsPaths(root)
    compared = write_sweeps_page(results, ["balls", "more-balls"], root / "compared.html", lambda text: None)
    section = Section("classes", "Classes", columns=("class", "train"), rows=(("basket", 3), ("tennis", 5)), bars=True)
    found = Preparation("f00d", {"classes": "2 (basket, tennis)"}, ("the splits leak",))
    write_data_page("balls", Path("balls.yaml"), found, [section], root / "data.html")
    return [compared, root / "data.html"]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


@needs_browser
@pytest.mark.parametrize("width", [500, 1280, 1920])
def test_pages_fit_and_are_gone_through(chromium: Any, pages: list[Path], width: int) -> None:
    for page in pages:
        tab = chromium.new_page(viewport={"width": width, "height": 900})
        wrong: list[str] = []
        tab.on("pageerror", lambda error, wrong=wrong: wrong.append(str(error)))
        tab.on("console", lambda said, wrong=wrong: wrong.append(said.text) if said.type == "error" else None)
        tab.goto(page.as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, page.name
        for link in tab.locator("nav a").all():
            link.click()
            target = (link.get_attribute("href") or "")[1:]
            assert tab.locator(f"[id='{target}']").is_visible(), target
        before = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        tab.locator("#theme").click()
        assert tab.evaluate("getComputedStyle(document.body).backgroundColor") != before
        assert not wrong
        tab.close()
