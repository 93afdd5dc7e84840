"""The explorer: Streamlit's own test harness goes through it, and a browser opens it."""

from __future__ import annotations

import io
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from PIL import Image

from sweep_runner.cli import app as command
from sweep_runner.cli.main import main
from sweep_runner.results.annotations import read_annotations
from sweep_runner.results.paths import SweepPaths
from tests.support.browser import browser, needs_browser
from tests.support.evaluated import write_evaluated_sweep

pytest.importorskip("streamlit")
from streamlit.testing.v1 import AppTest

PAGE = Path(command.__file__).parents[1] / "app" / "explorer.py"


@pytest.fixture(scope="module")
def two_sweeps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    write_evaluated_sweep(root, ("basket", "$golf*"), name="balls", baselines=("adam-max",))
    write_evaluated_sweep(root, ("one", "two"), name="other", num_others=1)
    return root


@pytest.fixture
def opened(two_sweeps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    shutil.copytree(two_sweeps, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(sys, "argv", ["explorer", str(tmp_path)])
    return AppTest.from_file(str(PAGE), default_timeout=120).run()


def test_it_shows_a_sweep_and_goes_to_another(opened: AppTest) -> None:
    assert not opened.exception
    assert opened.title[0].value == "balls"
    assert len(opened.dataframe[0].value) == 4
    opened.selectbox(key="sweep").select("other").run()
    assert not opened.exception
    assert opened.title[0].value == "other"
    assert len(opened.dataframe[0].value) == 3


def test_trials_are_filtered(opened: AppTest) -> None:
    opened.toggle(key="baselines").set_value(True).run()
    assert not opened.exception
    assert opened.dataframe[0].value["name"].tolist() == ["◆ adam-max"]
    opened.multiselect(key="states").select("COMPLETED").run()
    assert not opened.exception


def test_the_table_has_the_columns_of_the_report(opened: AppTest) -> None:
    table = opened.dataframe[0].value
    assert list(table.columns[:5]) == ["rank", "trial", "name", "state", "val_accuracy"]
    assert "lr" in table.columns
    assert table["trial"].tolist() == [3, 2, 1, 0] or table["trial"].tolist() == [3, 2, 0, 1]
    assert table["rank"].notna().all()


def test_a_star_and_a_note_are_kept_with_the_sweep(opened: AppTest, tmp_path: Path) -> None:
    opened.selectbox(key="noted-balls").select("trial 0 · adam-max").run()
    opened.toggle(key="star-balls-0").set_value(True).run()
    opened.text_input(key="note-balls-0").set_value("the  classic one").run()
    assert not opened.exception
    kept = read_annotations(SweepPaths(tmp_path / "balls"), str)
    assert [(trial, one.starred, one.note) for trial, one in kept.items()] == [(0, True, "the classic one")]
    assert "the classic one" in opened.dataframe[0].value["note"].tolist()
    assert opened.dataframe[0].value["star"].tolist().count("★") == 1


def test_two_trials_are_compared(opened: AppTest) -> None:
    opened.selectbox(key="second-balls").select("trial 0 · adam-max").run()
    assert not opened.exception
    assert any(markdown.value == "Choose two different trials." for markdown in opened.markdown) is False


def test_an_empty_folder_says_how_to_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["explorer", str(tmp_path)])
    shown = AppTest.from_file(str(PAGE), default_timeout=120).run()
    assert not shown.exception
    assert shown.title[0].value == "No sweeps yet"


def test_sweeps_are_compared_on_the_same_axes(opened: AppTest) -> None:
    assert not opened.get("iframe") or all("sweeps compared" not in each.proto.srcdoc for each in opened.get("iframe"))
    opened.multiselect(key="others-balls").select("other").run()
    assert not opened.exception
    (page,) = (each.proto.srcdoc for each in opened.get("iframe") if "sweeps compared" in each.proto.srcdoc)
    assert "2 sweeps by val_accuracy" not in page, "the explorer has a heading of its own"
    assert "Settings that differ" in page
    assert '<span class="chip c1"></span>other' in page
    assert any("sweep report balls other" in caption.value for caption in opened.caption)


def test_without_streamlit_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert main(["app", "--results", str(tmp_path)]) == 2
    assert "[app]" in capsys.readouterr().err


@needs_browser
def test_in_a_browser(tmp_path: Path) -> None:
    write_evaluated_sweep(tmp_path, ("basket", "golf"))
    with socket.socket() as free:
        free.bind((command.LOOPBACK, 0))
        port = free.getsockname()[1]
    arguments = ["app", "--results", str(tmp_path), "--port", str(port), "--no-browser"]
    server = subprocess.Popen([sys.executable, "-m", "sweep_runner", *arguments], start_new_session=True)
    try:
        _wait_for(f"http://{command.LOOPBACK}:{port}/_stcore/health", server)
        with browser() as chromium:
            tab = chromium.new_page()
            asked: list[str] = []
            tab.on("request", lambda request: asked.append(request.url))
            tab.goto(f"http://{command.LOOPBACK}:{port}")
            for name in ("Figures", "Confusion matrices", "Compare two", "Compare sweeps", "Try the model"):
                tab.get_by_role("tab", name=name).click(timeout=120_000)
                if name == "Figures":
                    linked = tab.frame_locator("iframe").first
                    linked.locator("#trial-4 .pick").click(timeout=120_000)
                    linked.locator("#panel").get_by_text("trial 4").first.wait_for()
                    assert linked.locator("#trials tr.chosen").count() == 1
            tab.get_by_text("There is no exported model yet").wait_for(timeout=120_000)
            assert tab.get_by_test_id("stException").count() == 0
        local = (f"http://{command.LOOPBACK}:{port}", f"ws://{command.LOOPBACK}:{port}", "data:", "blob:")
        assert [url for url in asked if not url.startswith(local)] == []
    finally:
        import os
        import signal

        os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise AssertionError(f"the explorer did not come up (exit code {server.poll()})")


def test_a_picture_of_the_data_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sweep_runner.app import model_view
    from tests.conftest import COLORS, write_color_model

    paths = write_evaluated_sweep(tmp_path, COLORS, name="balls", num_others=1)
    write_color_model(paths.best)
    picture = io.BytesIO()
    Image.new("RGB", (8, 8), (0, 200, 0)).save(picture, "PNG")
    asked: list[str] = []

    def pictures(paths: SweepPaths, spec: object, examples: tuple[str, ...], *others: object) -> dict[str, bytes]:
        asked.extend(examples)
        return dict.fromkeys(examples, picture.getvalue())

    monkeypatch.setattr(model_view.of_data, "pictures_of", pictures)
    monkeypatch.setattr(sys, "argv", ["explorer", str(tmp_path)])
    shown = AppTest.from_file(str(PAGE), default_timeout=120).run()
    assert not shown.exception
    assert len(asked) == model_view.NUM_PICTURES
    shown.button(key="picture-0").click().run()
    assert not shown.exception
    assert "green: 100.0%" in [element.proto.text for element in shown.get("progress")]
