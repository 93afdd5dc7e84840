"""How long people wait to look at a sweep of 1,000 trials of 20 epochs: making the report, opening it, the explorer.

`python -m benchmarks.reading FOLDER` on a folder that `python -m benchmarks.generate_results FOLDER --sweeps 1
--trials 1000 --epochs 20` has made. Opening is timed in a headless chromium until the first figure is there.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    results = str(parser.parse_args().folder.absolute())
    page = Path(results) / "sweep-000" / "report.html"
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "sweep_runner", "report", "sweep-000", "--results", results, "-q"], check=True
    )
    print(f"report made in {time.monotonic() - began:.1f} s, {page.stat().st_size / 1e6:.1f} MB")
    print(f"report opened in {_opened(page.as_uri(), '.chart svg'):.1f} s")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["app", "--results", results, "--port", str(port), "--no-browser"]
    began = time.monotonic()
    server = subprocess.Popen([sys.executable, "-m", "sweep_runner", *arguments], stderr=subprocess.DEVNULL)
    try:
        _wait_for(f"http://127.0.0.1:{port}/_stcore/health")
        print(f"explorer up in {time.monotonic() - began:.1f} s")
        for which in ("first", "second"):
            seconds = _opened(f"http://127.0.0.1:{port}", '[data-testid="stDataFrame"]')
            print(f"explorer opened ({which} time) in {seconds:.1f} s")
    finally:
        server.send_signal(2)
        server.wait(30)


def _opened(url: str, selector: str) -> float:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1400, "height": 1400})
        began = time.monotonic()
        tab.goto(url)
        tab.locator(selector).first.wait_for(timeout=120_000)
        seconds = time.monotonic() - began
        browser.close()
        return seconds


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise SystemExit("the explorer did not come up")


if __name__ == "__main__":
    main()
