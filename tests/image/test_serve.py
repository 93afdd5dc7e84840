"""The HTTP endpoint: what it answers, and what it refuses."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("fastapi")
pytest.importorskip("httpx")


@pytest.fixture
def client(color_model: Path) -> Iterator[Any]:
    from fastapi.testclient import TestClient

    from trainables.image.deployment.serve import Limits, make_app
    from trainables.image.package import load_package

    app = make_app(load_package(color_model), Limits(8, 0.2, 50_000, 10_000), token="secret")
    with TestClient(app, headers={"Authorization": "Bearer secret"}) as client:
        yield client


def picture(color: tuple[int, int, int], size: tuple[int, int] = (12, 9)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "PNG")
    return file.getvalue()


def test_a_picture_is_predicted_and_the_pages_work(client: Any) -> None:
    answer = client.post("/predict?top=2", content=picture((0, 250, 0))).json()
    assert answer["predicted"] == "green"
    assert next(each["class"] for each in answer["top"]) == "green"
    assert len(answer["top"]) == 2
    assert client.get("/labels").json()["classes"] == ["red", "green", "blue"]
    assert "/predict" in client.get("/openapi.json").json()["paths"]
    assert "http" not in client.get("/docs").text.replace("http://testserver", "")


def test_requests_that_come_together_run_together(client: Any) -> None:
    colors = {"red": (250, 0, 0), "green": (0, 250, 0), "blue": (0, 0, 250)}
    wanted = list(colors) * 8
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda name: client.post("/predict", content=picture(colors[name])).json(), wanted))
    assert [answer["predicted"] for answer in answers] == wanted
    assert client.app.state.batcher.largest_batch > 1


def test_what_is_too_large_or_no_picture_is_refused(client: Any) -> None:
    assert client.post("/predict", content=bytes(60_000)).status_code == 413
    assert client.post("/predict", content=b"no picture").status_code == 422
    bomb = picture((0, 0, 0), (2000, 2000))
    assert len(bomb) < 50_000
    assert client.post("/predict", content=bomb).status_code == 422
    assert client.post("/predict", content=picture((0, 0, 250))).status_code == 200


def test_without_the_token_only_health_is_told(client: Any) -> None:
    wrong = {"Authorization": "Bearer wrong"}
    assert client.get("/health", headers=wrong).status_code == 200
    assert client.post("/predict", headers=wrong, content=picture((0, 0, 0))).status_code == 401
    assert client.get("/openapi.json", headers=wrong).status_code == 401
