"""How a report of many trials feels: its size, how long it takes to open, how long to answer.

`python -m benchmarks.report_page [--trials 1000] [--epochs 20]` makes a sweep of made-up numbers, writes its report and
uses it in a headless chromium as a person would: opens it, drags a brush over an axis of the parallel coordinates,
points at a curve, chooses a trial, filters and sorts. Opening is from asking for the file until its first frame is
painted with all scripts run. An answer is from the event until the frame that shows it (two animation frames after it):
the median and the slowest of `--repeats`, and the CPU time of all of chromium's processes for one, which depends less
on what else the machine does.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.generate_results import generate
from sweep_runner.report.page import write_report
from sweep_runner.results.paths import ResultsPaths

_ANSWER = """act => new Promise(done => {
    const began = performance.now();
    eval(act);
    requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - began)));
})"""
_OPENED = """() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() =>
    done({painted: performance.now(), interactive: performance.getEntriesByType('navigation')[0].domInteractive}))))"""
_AXIS = """() => {
    const svg = document.querySelector('#figure-parallel-coordinates svg');
    const [x, top, bottom] = svg.querySelector('path[data-name]').getAttribute('d').match(/[\\d.]+/g).map(Number);
    const put = y => new DOMPoint(x + 3, y).matrixTransform(svg.getScreenCTM());
    return [put(0).x, put(top).y, put(bottom).y];
}"""
_WATCH = """() => {
    window.answers = [];
    const svg = document.querySelector('#figure-parallel-coordinates svg');
    svg.addEventListener('pointermove', () => {
        const began = performance.now();
        requestAnimationFrame(() => requestAnimationFrame(() => window.answers.push(performance.now() - began)));
    }, true);
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=9)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = ResultsPaths(Path(folder))
        generate(results, 1, asked.trials, asked.epochs)
        began = time.process_time()
        page = write_report(results, "sweep-000", None, print)
        print(f"{asked.trials} trials of {asked.epochs} epochs")
        print(f"made in     {time.process_time() - began:.1f} s of one CPU")
        print(f"size        {page.stat().st_size / 1e6:.2f} MB")
        _use(page.as_uri(), asked.repeats)


def _use(url: str, repeats: int) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        opened = []
        before = _cpu_s()
        for _ in range(repeats):
            tab = browser.new_page(viewport={"width": 1400, "height": 1000})
            tab.goto(url)
            opened.append(tab.evaluate(_OPENED)["painted"] / 1000)
            if len(opened) < repeats:
                tab.goto("about:blank")
                tab.close()
        _print("open", opened, "s", 2, (_cpu_s() - before) / repeats)
        before = _cpu_s()
        answers = _brush(tab, repeats)
        _print("brush", answers, "ms", 0, 1000 * (_cpu_s() - before) / len(answers))
        rows = "document.querySelectorAll('#trials tbody tr')"
        curves = "document.querySelector('#figure-learning-curves')"
        for what, act in {
            "choose": f"{rows}[%d].querySelector('.pick').click()",
            "point": f"{curves}.dispatchEvent(new KeyboardEvent('keydown', {{key: 'ArrowRight'}})) + '%d'",
            "sort": "document.querySelector('#trials th[data-key=lr] button').click() + '%d'",
            "filter": "const i = document.querySelector('#filter'); i.value = 'lr<0.00%d5';"
            "i.dispatchEvent(new Event('input'))",
        }.items():
            before = _cpu_s()
            answers = [tab.evaluate(_ANSWER, act % (k + 1)) for k in range(repeats)]
            _print(what, answers, "ms", 0, 1000 * (_cpu_s() - before) / repeats)
        browser.close()


def _brush(tab: Any, repeats: int) -> list[float]:
    """A drag over the first axis; each step of the pointer is answered in all figures that are in sight."""
    tab.locator("#figure-parallel-coordinates").scroll_into_view_if_needed()
    x, top, bottom = tab.evaluate(_AXIS)
    tab.evaluate(_WATCH)
    tab.mouse.move(x, top)
    tab.mouse.down()
    for step in range(1, 3 * repeats + 1):
        tab.mouse.move(x, top + (bottom - top) * step / (3 * repeats + 2))
        tab.wait_for_timeout(30)
    tab.mouse.up()
    tab.wait_for_timeout(300)
    return [float(answer) for answer in tab.evaluate("window.answers")]


def _cpu_s() -> float:
    """CPU seconds of this process's children so far."""
    spent = 0.0
    for child in psutil.Process(os.getpid()).children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        spent += times.user + times.system
    return spent


def _print(what: str, values: list[float], unit: str, decimals: int, cpu: float) -> None:
    figures = [f"{value:.{decimals}f} {unit}" for value in (statistics.median(values), max(values), cpu)]
    print(f"{what:<10}  {figures[0]} (slowest of {len(values)}: {figures[1]}; CPU {figures[2]})")


if __name__ == "__main__":
    main()
