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


def test_a_form_is_taken_as_a_body_is(client: Any) -> None:
    blue = picture((0, 0, 250))
    for field in ("file", "image"):
        answer = client.post("/predict", files={field: ("photo.png", blue, "image/png")}, data={"note": "x"})
        assert answer.json()["predicted"] == client.post("/predict", content=blue).json()["predicted"] == "blue"
    without = client.post("/predict", files={"note": (None, "x")})
    assert (without.status_code, "curl -F file=@photo.jpg" in without.text) == (422, True)
    two = client.post("/predict", files=[("file", ("a.png", blue)), ("file", ("b.png", blue))])
    assert (two.status_code, "2 files" in two.text) == (422, True)
    torn = client.post("/predict", content=b"no form", headers={"Content-Type": "multipart/form-data"})
    assert torn.status_code == 400
    assert "curl" in client.get("/docs").text
    assert client.get("/").text == client.get("/docs").text, "what a browser asks for first"


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


def serving(model: Path, hosts: set[str] | None = None, **limits: Any) -> Any:
    from fastapi.testclient import TestClient

    from trainables.image.deployment.serve import Limits, make_app
    from trainables.image.package import load_package

    return TestClient(make_app(load_package(model), Limits(**limits), hosts=hosts), base_url="http://127.0.0.1:8000")


def test_a_page_of_another_name_is_not_answered(color_model: Path) -> None:
    """Without a token any website could ask through a browser of this machine, under a name that leads here."""
    with serving(color_model, {"127.0.0.1", "localhost", "::1"}) as client:
        for host in ("127.0.0.1:8000", "localhost", "LOCALHOST:8000", "[::1]:8000"):
            assert client.get("/health", headers={"Host": host}).status_code == 200
        for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", ""):
            answer = client.get("/labels", headers={"Host": host})
            assert answer.status_code == 421
            assert "Host" in answer.json()["detail"]


def test_uploads_are_bounded_in_time_and_in_what_is_held(color_model: Path) -> None:
    """Each refusal says in words what it is; what was held is let go, and the next picture is answered."""
    import asyncio

    from fastapi import HTTPException
    from starlette.requests import Request

    from trainables.image.deployment.serve import Limits, Uploads

    uploads = Uploads(Limits(max_bytes=100, max_held_bytes=150, max_upload_s=0.05))

    def request(*chunks: bytes, ends: str = "", length: str = "") -> Request:
        messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
        last = {"gone": {"type": "http.disconnect"}, "": {"type": "http.request", "body": b"", "more_body": False}}

        async def receive() -> Any:
            if messages:
                return messages.pop(0)
            return await asyncio.sleep(3600) if ends == "never" else last[ends]

        headers = [(b"content-length", length.encode())] if length else []
        return Request({"type": "http", "method": "POST", "headers": headers}, receive)

    async def refusal(request: Request) -> HTTPException:
        with pytest.raises(HTTPException) as refused:
            async with uploads.body(request):
                pass
        return refused.value

    async def all_of_it() -> None:
        assert (await refusal(request(b"x" * 10, ends="never"))).status_code == 408
        assert (await refusal(request(b"x" * 60, b"x" * 60))).status_code == 413
        assert (await refusal(request(length="101", ends="never"))).status_code == 413
        assert (await refusal(request(b"x" * 10, ends="gone"))).status_code == 400
        async with uploads.body(request(b"x" * 90)):
            busy = await refusal(request(b"x" * 90))
            assert (busy.status_code, busy.headers) == (429, {"Retry-After": "1"})
            assert "try again" in busy.detail
        assert uploads.held_bytes == 0
        async with uploads.body(request(b"x" * 90)) as body:
            assert body == b"x" * 90

    asyncio.run(all_of_it())
