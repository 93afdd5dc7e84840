"""A running sweep as others see it: scraped by a real Prometheus, and in Ray's dashboard in a real browser."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweep_runner.cli.metrics import dashboard_file
from tests.support.faults import Driver
from tests.support.sweeps import sweep

pytestmark = pytest.mark.ray

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
PROMETHEUS = shutil.which("prometheus")
CHROMIUM = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_S = 120
SCORES = {"short": 0.5, "long": 0.8, "longer": 0.7}
FILE = {
    "name": "watched",
    "trainable": "watchable:Watchable",
    "space": {"what": list(SCORES)},
    "baselines": {"brief": {"what": "short"}, "steady": {"what": "long"}, "late": {"what": "longer"}},
    "objective": {"metric": "score", "mode": "max"},
    "search": {"sampler": "random", "trials": 3},
    "resources": {"max_concurrent": 2},
}
MODULE = f'''
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from trainables.contract import EpochReport, NoData, Trainable


class Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    what: str = ""


class Watchable(Trainable[Config, NoData]):
    """Its trial `short` goes on until the file `seen` is there, the others for ever."""

    config_class = Config

    def train(self, config, handle):
        seen = Path(__file__).with_name("seen")
        for epoch in range(1, 10_000):
            metrics = {{"score": {SCORES!r}[config.what], "images_per_s": 50.0, "data_wait_fraction": 0.1}}
            handle.report(EpochReport(epoch, {{**metrics, "peak_memory_bytes": 1e9}}), save=self.save)
            print("an epoch of", config.what, flush=True)
            if config.what == "short" and seen.exists():
                return
            time.sleep(0.3)

    def save(self, folder):
        (folder / "state").write_text("")
'''


@dataclass(frozen=True)
class Watched:
    """A sweep that runs until the tests are over: trial 0 ends once `seen` is made."""

    folder: Path
    temporary: Path
    driver: Driver

    @property
    def dashboard(self) -> str:
        return "http://" + self.driver.said.partition("Ray dashboard: http://")[2].split()[0]

    @property
    def token(self) -> str:
        return (self.folder / "config/sweep-runner/ray-token").read_text().strip()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    (folder / "watchable.py").write_text(MODULE)
    (folder / "sweep.yaml").write_text(yaml.safe_dump(FILE, sort_keys=False))
    temporary = Path(f"/tmp/w{os.getpid()}")  # short, because sockets lie below it
    temporary.mkdir()
    environment = {"XDG_CONFIG_HOME": str(folder / "config"), "TMPDIR": str(temporary)}
    driver = Driver("run", "sweep.yaml", cwd=folder, **environment)
    try:
        log = folder / "results/watched/log.jsonl"
        driver.wait_for(lambda: log.exists() and log.read_text().count('"epoch"') > 4)
        yield Watched(folder, temporary, driver)
        driver.process.send_signal(signal.SIGINT)
        assert driver.end()[0] == 130
        assert not (folder / "results/.metrics/watched.json").exists()
    finally:
        driver.process.kill()
        shutil.rmtree(temporary, ignore_errors=True)


def eventually(what: Callable[[], Any]) -> Any:
    """The first value of `what` that is true."""
    deadline = time.monotonic() + PATIENCE_S
    while not (value := what()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.2)
    return value


class Prometheus:
    """A real one, which scrapes as `sweep metrics` says, but every second."""

    def __init__(self, watched: Watched, folder: Path) -> None:
        told = sweep("metrics", cwd=watched.folder, XDG_CONFIG_HOME=str(watched.folder / "config"))
        assert told.returncode == 0, told.stderr
        config = folder / "prometheus.yml"
        config.write_text(told.stdout.replace("scrape_interval: 5s", "scrape_interval: 1s"))
        subprocess.run(["promtool", "check", "config", str(config)], check=True, capture_output=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._address = f"127.0.0.1:{free.getsockname()[1]}"
        self.process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={self._address}",
                "--log.level=error",
            ]
        )
        eventually(self._answers)

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"http://{self._address}/-/ready", timeout=5).close()
        except OSError:
            assert self.process.poll() is None
            return False
        return True

    def ask(self, query: str) -> list[Any]:
        """What an expression gives now: series with labels and value."""
        url = f"http://{self._address}/api/v1/query?" + urllib.parse.urlencode({"query": query})
        with urllib.request.urlopen(url, timeout=30) as answer:
            result: list[Any] = json.load(answer)["data"]["result"]
            return result

    def value(self, query: str) -> float:
        (series,) = self.ask(query)
        return float(series["value"][1])

    def trials(self) -> set[str]:
        """Those that have an objective now."""
        return {series["metric"]["trial"] for series in self.ask('sweep_trial_objective{sweep="watched"}')}


@pytest.mark.skipif(PROMETHEUS is None, reason="no Prometheus: apt-get install prometheus")
def test_a_prometheus_sees_the_sweep_and_an_ended_trial_no_longer(watched: Watched, tmp_path: Path) -> None:
    prometheus = Prometheus(watched, tmp_path)
    try:
        eventually(lambda: prometheus.trials() == {"0", "1"})
        assert prometheus.value("sweep_best_objective") == SCORES["long"]
        assert prometheus.value("sweep_best_trial") == 1
        assert prometheus.value('sweep_trials{state="running"}') == 2
        (info,) = prometheus.ask('sweep_trial_info{trial="0"}')
        assert {key: info["metric"][key] for key in ("name", "attempt", "device", "instance", "job")} == {
            "name": "brief",
            "attempt": "1",
            "device": "cpu",
            "instance": "watched",
            "job": "sweep-runner",
        }
        for title, expression in _expressions():
            assert prometheus.ask(expression), f"{title} shows nothing: {expression}"

        (watched.folder / "seen").touch()
        eventually(lambda: prometheus.trials() == {"1", "2"})
        assert prometheus.value('sweep_trials{state="completed"}') >= 1
        assert prometheus.ask('{trial="0", sweep="watched"}') == []
        assert prometheus.value('max_over_time(sweep_trial_objective{trial="0"}[1h])') == SCORES["short"]
    finally:
        prometheus.process.terminate()
        prometheus.process.wait(30)


def _expressions() -> Iterator[tuple[str, str]]:
    """The queries of the dashboard, as Grafana asks them with all sweeps and trials chosen."""
    content = json.loads(dashboard_file().read_text())
    for panel in content["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$sweep", ".*").replace("$trial", ".*")
    for variable in content["templating"]["list"]:
        if variable["type"] == "query":
            series, label = variable["query"]["query"].removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
            yield variable["name"], f"count by ({label}) ({series.replace('$sweep', '.*')})"


@pytest.mark.skipif(BROWSER is None, reason="no browser: apt-get install chromium")
def test_the_dashboard_tells_sweep_trials_and_processes(watched: Watched) -> None:
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=list(CHROMIUM))
        tab = browser.new_page()
        tab.set_default_timeout(PATIENCE_S * 1000)
        tab.goto(watched.dashboard)
        tab.get_by_role("dialog").get_by_role("textbox").fill(watched.token)
        tab.get_by_role("dialog").get_by_role("button", name="Submit").click()
        tab.get_by_role("dialog").wait_for(state="hidden")

        tab.goto(f"{watched.dashboard}/#/jobs")
        tab.get_by_text("sweep watched").wait_for()
        tab.get_by_role("link", name="01000000").click()
        tab.get_by_text("Task Table").click()
        tab.get_by_text("watched trial 1 (steady) attempt 1", exact=True).first.wait_for()

        tab.goto(f"{watched.dashboard}/#/cluster")
        tab.get_by_text("ray::watched trial 1 (steady) attempt 1").wait_for()
        browser.close()


def test_the_job_tells_its_file_and_each_line_of_a_workers_log_its_trial(watched: Watched) -> None:
    """A worker has one log, which the dashboard shows, for one trial after another."""
    request = urllib.request.Request(
        f"{watched.dashboard}/api/jobs/", headers={"Authorization": f"Bearer {watched.token}"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        (job,) = [job for job in json.load(answer) if "sweep" in (job["metadata"] or {})]
    file = str(watched.folder / "sweep.yaml")
    assert job["metadata"] == {"job_name": "sweep watched", "sweep": "watched", "file": file}
    logs = [path.read_text() for path in watched.temporary.glob("sweep-ray-*/ray/session_2*/logs/worker-*.out")]
    assert "[watched trial 0 (brief) attempt 1] an epoch of short\n" in "".join(logs)
