"""The report is one linked page: what is chosen or filtered in one view is so in all, by mouse and by keyboard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from sweep_runner.report.page import MAX_ROWS, render, shown_rows
from sweep_runner.report.palette import colors, contrast
from sweep_runner.results.annotations import annotate
from sweep_runner.results.events import EpochReported, Event, SweepChanged, TrialEnded, TrialStarted
from sweep_runner.results.leaderboard import leaderboard
from sweep_runner.results.paths import ResultsPaths, SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.spec.model import Objective
from tests.support.browser import browser, needs_browser, page_of
from tests.support.evaluated import write_evaluated_sweep

BEST, FIRST = 9, 0
"""Trials are the better, the later."""


def _silent(text: str) -> None:
    raise AssertionError(text)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of ten evaluated trials: two baselines, eight others with a learning rate of their own."""
    root = tmp_path_factory.mktemp("results")
    write_evaluated_sweep(root, ("cat", "dog", "owl"), num_others=8)
    results = ResultsPaths(root)
    annotate(results, "balls", 3, starred=True, note="the one for <the demo>")
    page = root / "report.html"
    page.write_text(render(results, "balls", _silent), encoding="utf-8")
    return page


class _Reader(HTMLParser):
    """The tags of a page with their attributes, and ids."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_is_made_for_screen_readers_and_keyboards(file: Path) -> None:
    tags = _Reader(file.read_text(encoding="utf-8")).tags
    ids = [found["id"] for _, found in tags if "id" in found]
    assert len(ids) == len(set(ids)), "an id names one thing"
    for tag, found in tags:
        if tag == "th":
            assert found.get("scope") in ("col", "row")
        if tag == "img":
            assert found.get("alt")
        if tag == "svg":
            assert found.get("role") == "img"
            assert found.get("aria-label")
        for pointer in ("aria-describedby", "for"):
            assert pointer not in found or found[pointer] in ids
        if tag == "a" and (found.get("href") or "").startswith("#"):
            assert (found["href"] or "")[1:] in ids
    views = [found for tag, found in tags if tag == "figure" and found.get("data-view")]
    assert len(views) >= 4
    assert all(found.get("tabindex") == "0" and found.get("aria-label") for found in views)
    rows = [found["data-trial"] for tag, found in tags if tag == "tr" and "data-trial" in found]
    assert sorted(map(int, filter(None, rows))) == list(range(10))
    assert sum(tag == "button" and found.get("class") == "pick" for tag, found in tags) == 10


def test_notes_and_stars_are_in_the_page_as_text(file: Path) -> None:
    page = file.read_text(encoding="utf-8")
    assert "the one for &lt;the demo&gt;" in page
    assert "<the demo>" not in page
    assert page.count('data-starred="yes"') == 1


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colors_have_enough_contrast(file: Path, theme: str) -> None:
    """Texts 4.5, marks of trials 3 (WCAG 2.2, 1.4.3 and 1.4.11), of what the page's style sheet really says."""
    found = {}
    for block in re.findall(r':root\[data-theme="' + theme + r'"\] \{([^}]*)\}', file.read_text(encoding="utf-8")):
        found |= dict(re.findall(r"--(\w+): (#\w{6});", block))
    assert found == colors(theme)
    for background in ("back", "panel"):
        for name in ("text", "soft", "mark"):
            assert contrast(found[name], found[background]) >= 4.5, (name, background)
        for name in ("edge", "star", "plain", "faint", *(f"c{k}" for k in range(6)), *(f"q{k}" for k in range(8))):
            assert contrast(found[name], found[background]) >= 2.9, (name, background)
    for k in range(8):
        assert contrast(found[f"on{k}"], found[f"m{k}"]) >= 4.5


def test_of_more_trials_than_there_is_room_the_best_are_all_shown_and_the_others_evenly(tmp_path: Path) -> None:
    paths = SweepPaths(tmp_path / "many")
    paths.root.mkdir()
    with Recorder.open(paths, Objective(), ["lr"], {}) as recorder:
        events: list[Event] = [SweepChanged(time=1.0, state="RUNNING")]
        for trial in range(2300):
            name = "known" if trial == 2000 else None
            metrics = {"val_accuracy": 1 - trial / 3000}
            events += [
                TrialStarted(time=1.0, trial=trial, attempt=1, seed=0, params={"lr": 0.1}, name=name),
                EpochReported(time=2.0, trial=trial, attempt=1, epoch=1, metrics=metrics),
                TrialEnded(time=3.0, trial=trial, attempt=1, state="COMPLETED"),
            ]
        recorder.record_many(events)
    shown = [row.trial for row in shown_rows(leaderboard(ResultsPaths(tmp_path), "many"))]
    assert len(shown) <= MAX_ROWS + 1
    assert shown[: MAX_ROWS // 2] == list(range(MAX_ROWS // 2))
    assert 2000 in shown
    assert max(shown) > 2290


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.fixture
def tab(chromium: Any, file: Path) -> Iterator[Any]:
    with page_of(chromium, file.as_uri(), viewport={"width": 1280, "height": 1000}) as opened:
        yield opened


def _chosen(tab: Any) -> list[str]:
    return list(tab.evaluate("[...document.querySelectorAll('#trials tr.chosen')].map(row => row.dataset.trial)"))


def _visible(tab: Any) -> list[int]:
    found = tab.evaluate(
        "[...document.querySelectorAll('#trials tbody tr')].filter(r => !r.hidden).map(r => +r.dataset.trial)"
    )
    return [int(trial) for trial in found]


def _end_of(tab: Any, figure: str, trial: int) -> tuple[float, float]:
    """Where on the screen a trial's mark ends in a figure, scrolled into view."""
    tab.locator(f"#{figure}").scroll_into_view_if_needed()
    x, y = tab.evaluate(
        """([figure, trial]) => {
            const svg = document.querySelector(`#${figure} svg`);
            for (const path of svg.querySelectorAll('path[data-trials]')) {
                const place = path.dataset.trials.split(' ').indexOf(String(trial));
                if (place < 0) continue;
                const part = path.getAttribute('d').split('M')[place + 1].split(/[a-z]/)[0];
                const numbers = part.match(/-?[\\d.]+/g).map(n => +n);
                const at = new DOMPoint(...numbers.slice(-2)).matrixTransform(svg.getScreenCTM());
                return [at.x, at.y];
            }
        }""",
        [figure, trial],
    )
    return float(x), float(y)


@needs_browser
def test_a_clicked_line_lights_up_its_row_its_curve_and_its_confusion(tab: Any) -> None:
    x, y = _end_of(tab, "figure-learning-curves", FIRST)
    tab.mouse.move(x, y)
    assert "trial 0" in tab.locator("#tip").inner_text()
    assert "adam-max" in tab.locator("#tip").inner_text()
    tab.mouse.click(x, y)
    assert _chosen(tab) == [str(FIRST)]
    assert tab.locator("#panel").is_visible()
    assert tab.locator("#panel tbody tr").count() == 1
    assert tab.url.endswith("#trial-0")
    for figure in ("learning-curves", "best-so-far", "parallel-coordinates"):
        tab.locator(f"#figure-{figure}").scroll_into_view_if_needed()
        tab.locator(f"#figure-{figure}.dimmed .lit .chosen").first.wait_for(state="attached")
    assert tab.locator(f".of-trial[data-trial='{FIRST}']").is_visible()
    assert not tab.locator(f".of-trial[data-trial='{BEST}']").is_visible()
    tab.keyboard.press("Escape")
    assert _chosen(tab) == []
    assert tab.locator(f".of-trial[data-trial='{BEST}']").is_visible()
    assert not tab.locator("#panel").is_visible()


@needs_browser
def test_two_points_are_held_side_by_side(tab: Any) -> None:
    tab.mouse.click(*_end_of(tab, "figure-best-so-far", 4))
    tab.keyboard.down("Shift")
    tab.mouse.click(*_end_of(tab, "figure-best-so-far", 8))
    tab.keyboard.up("Shift")
    assert sorted(_chosen(tab)) == ["4", "8"]
    assert tab.locator("#panel td.differs").count() > 0
    tab.reload()
    assert sorted(_chosen(tab)) == ["4", "8"], "the address says which trials are chosen"


@needs_browser
def test_rows_are_chosen_sorted_and_filtered_by_keyboard(tab: Any) -> None:
    tab.locator("#trial-5 .pick").focus()
    tab.keyboard.press("Enter")
    assert _chosen(tab) == ["5"]
    assert tab.locator("#trial-5 .pick").get_attribute("aria-pressed") == "true"
    head = tab.locator("#trials th[data-key='lr']")
    head.get_by_role("button").focus()
    tab.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert _visible(tab) == list(range(10)), "the learning rates fall with the number"
    tab.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert _visible(tab) == list(range(9, -1, -1))
    assert tab.locator("#trials th[aria-sort='ascending']").count() == 1
    tab.locator("#filter").focus()
    tab.keyboard.type("lr<0.02 lr>0.0112")
    tab.locator("#count").get_by_text("3 of 10 trials").wait_for()
    tab.wait_for_function("document.querySelectorAll('#trials tbody tr:not([hidden])').length === 3")
    assert sorted(_visible(tab)) == [5, 6, 7]
    tab.locator("#filter").fill("nothing=1")
    tab.locator("#count").get_by_text("no column “nothing”").wait_for()
    tab.locator("#reset").click()
    tab.locator("#starred").check()
    assert _visible(tab) == [3]


@needs_browser
def test_trials_of_a_figure_are_reached_by_keyboard(tab: Any) -> None:
    tab.locator("#figure-learning-curves").focus()
    tab.keyboard.press("ArrowRight")
    assert f"trial {BEST}" in tab.locator("#tip").inner_text()
    assert f"trial {BEST}" in tab.locator("#said").inner_text()
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("Enter")
    assert _chosen(tab) == ["8"]
    outline = tab.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline not in ("none", ""), "focus is seen"


@needs_browser
def test_a_brushed_axis_filters_everything_and_can_be_taken_back(tab: Any) -> None:
    """On the first axis of the parallel coordinates the best trials are on top."""
    tab.locator("#figure-parallel-coordinates").scroll_into_view_if_needed()
    x, top, bottom = tab.evaluate(
        """() => {
            const svg = document.querySelector('#figure-parallel-coordinates svg');
            const numbers = svg.querySelector('path[data-name]').getAttribute('d').match(/[\\d.]+/g).map(Number);
            const put = y => new DOMPoint(numbers[0], y).matrixTransform(svg.getScreenCTM());
            return [put(0).x, put(numbers[1]).y, put(numbers[2]).y];
        }"""
    )
    tab.mouse.move(x + 2, top - 8)
    tab.mouse.down()
    tab.mouse.move(x + 2, top + (bottom - top) * 0.2, steps=4)
    tab.mouse.move(x + 2, top + (bottom - top) * 0.4, steps=4)
    tab.mouse.up()
    kept = _visible(tab)
    assert BEST in kept
    assert FIRST not in kept
    assert kept == sorted(kept, reverse=True)
    assert 1 < len(kept) < 10
    chip = tab.locator("#chips button")
    assert chip.inner_text().startswith("val_accuracy: 0.")
    tab.locator("#figure-learning-curves").scroll_into_view_if_needed()
    tab.locator("#figure-learning-curves .lit .kept").first.wait_for(state="attached")
    chip.focus()
    tab.keyboard.press("Enter")
    assert len(_visible(tab)) == 10


@needs_browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_every_width_and_prints(chromium: Any, file: Path, tmp_path: Path, theme: str) -> None:
    for width in (390, 500, 1280, 1920):
        with page_of(chromium, file.as_uri(), viewport={"width": width, "height": 900}, color_scheme=theme) as opened:
            assert opened.evaluate("document.documentElement.scrollWidth") <= width
            assert opened.evaluate("document.documentElement.dataset.theme") == theme
            back = opened.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (back == "rgb(255, 255, 255)") == (theme == "light")
            if width == 1280:
                opened.pdf(path=tmp_path / "report.pdf")
                opened.emulate_media(media="print")
                assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
                assert not opened.locator(".controls").is_visible()
                opened.emulate_media(media="screen")
                opened.get_by_role("button", name="Light or dark").click()
                assert opened.evaluate("document.documentElement.dataset.theme") != theme
    assert (tmp_path / "report.pdf").stat().st_size > 20_000


@needs_browser
def test_without_scripts_everything_is_there_to_read(chromium: Any, file: Path) -> None:
    context = chromium.new_context(java_script_enabled=False, color_scheme="dark")
    opened = context.new_page()
    opened.goto(file.as_uri())
    assert opened.locator("#trials tbody tr").count() == 10
    assert opened.locator("#figure-learning-curves svg").is_visible()
    assert not opened.locator(".controls").is_visible()
    assert not opened.locator("#panel").is_visible()
    context.close()
