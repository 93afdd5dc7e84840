"""A model package behind HTTP. Requests that come together go through the model together."""

# No `from __future__ import annotations`: FastAPI reads the types of functions that are made inside another.
import asyncio
import hmac
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from trainables.image.deployment.batching import Batcher, Pixels
from trainables.image.package import Package
from trainables.image.pixels.decode import UnreadableImage, decode


@dataclass(frozen=True)
class Limits:
    """What one request, and one run of the model, may be.

    Attributes:
        max_batch: images that go through the model together.
        max_wait_s: how long the first of them waits for others that are on their way; one that is alone does not wait.
        max_bytes: of a picture as sent.
        max_pixels: of a picture as decoded: a small file can hold a huge picture.
        max_upload_s: how long a picture may take to come.
        max_held_bytes: of all pictures that are here or on their way.
        num_decoders: pictures that are decoded at a time.
    """

    max_batch: int = 32
    max_wait_s: float = 0.005
    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000
    max_upload_s: float = 30.0
    max_held_bytes: int = 400_000_000
    num_decoders: int = 1


class Uploads:
    """The pictures that are being sent or are worked on: how much of them is held at a time has a limit."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.held_bytes = 0

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """The body of a request, which counts as held until the block ends.

        Raises:
            HTTPException: 408, it does not come in time; 413, it is too large; 429, too much is held already.
        """
        held = bytearray()
        try:
            try:
                async with asyncio.timeout(self._limits.max_upload_s):
                    await self._receive(request, held)
            except TimeoutError as error:
                raise HTTPException(
                    408, f"the image did not come within {self._limits.max_upload_s:g} s: send it again"
                ) from error
            except ClientDisconnect as error:
                raise HTTPException(400, "the client disconnected") from error  # nobody hears it
            yield bytes(held)
        finally:
            self.held_bytes -= len(held)

    async def _receive(self, request: Request, held: bytearray) -> None:
        most = self._limits.max_bytes
        told = request.headers.get("content-length", "")
        if told.isdecimal() and int(told) > most:
            raise HTTPException(413, f"the image has {told} bytes, and the maximum is {most}")
        async for chunk in request.stream():
            if len(held) + len(chunk) > most:
                raise HTTPException(413, f"the image has more than the maximum of {most} bytes")
            if self.held_bytes + len(chunk) > self._limits.max_held_bytes:
                raise HTTPException(429, "too many images are being sent: try again later", {"Retry-After": "1"})
            held += chunk
            self.held_bytes += len(chunk)


def make_app(
    package: Package, limits: Limits, token: str | None = None, hosts: Collection[str] | None = None
) -> FastAPI:
    """The application.

    Args:
        package: the model.
        limits: of requests.
        token: that every request but /health must carry as `Authorization: Bearer …`; None: none.
        hosts: names that a request's Host header may have; None: any. Without a token a page of any website could
            otherwise have a browser of this machine ask, under a name of its own that it lets point here.
    """
    facts = package.facts
    uploads = Uploads(limits)
    decoders = ThreadPoolExecutor(limits.num_decoders, thread_name_prefix="decode")
    batcher = Batcher(package, limits.max_batch, limits.max_wait_s)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(batcher.run())
        yield
        task.cancel()
        decoders.shutdown(wait=False, cancel_futures=True)

    # The usual documentation pages load scripts from elsewhere; this one works offline.
    app = FastAPI(title="Image classifier", lifespan=life, docs_url=None, redoc_url=None)
    app.state.batcher = batcher

    @app.middleware("http")
    async def authorized(request: Request, proceed: Callable[[Request], Awaitable[Response]]) -> Response:
        given = request.headers.get("authorization", "").encode()
        host = request.headers.get("host", "")
        if hosts is not None and _name_of(host) not in hosts:
            return JSONResponse({"detail": f"the header Host is {host!r}, and this is {' or '.join(hosts)}"}, 421)
        if token and request.url.path != "/health" and not hmac.compare_digest(given, f"Bearer {token}".encode()):
            return JSONResponse({"detail": "this needs the header Authorization: Bearer TOKEN"}, 401)
        return await proceed(request)

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether it is up."""
        return {"status": "ok"}

    @app.get("/labels")
    async def labels() -> dict[str, Any]:
        """The classes, in the order of the model, and where it comes from."""
        return {"classes": facts.classes, "multilabel": facts.multilabel, "origin": facts.origin}

    @app.get("/", include_in_schema=False)
    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        return Response(_page(app.openapi(), str(request.base_url), token is not None), media_type="text/html")

    read = partial(
        decode,
        resolution=facts.input_resolution,
        channels=facts.channels,
        fit=facts.fit,
        rule=replace(facts.rule, max_pixels=limits.max_pixels),
    )

    async def _pixels(request: Request) -> Pixels:
        async with uploads.body(request) as body:
            sent = await file_of(request, body) if _is_form(request) else body
            try:
                with batcher.coming():
                    return await asyncio.get_running_loop().run_in_executor(decoders, read, sent)
            except UnreadableImage as error:
                reason = error.reason.replace("data.max_pixels", "the limit")  # a key of sweep files
                raise HTTPException(422, f"not a readable image: {reason}") from error

    binary = {"type": "string", "format": "binary"}
    form = {"schema": {"type": "object", "required": ["file"], "properties": {"file": binary}}}
    schema = {
        "requestBody": {"required": True, "content": {"image/*": {"schema": binary}, "multipart/form-data": form}}
    }

    @app.post("/predict", openapi_extra=schema)
    async def predict(
        request: Request, top: int = Query(5, ge=1, description="Number of classes to return.")
    ) -> dict[str, Any]:
        """The classes of the picture that is the request's body, or the one file of a form."""
        pixels = await _pixels(request)
        try:
            row = await batcher.probabilities(pixels)
        except asyncio.QueueFull as error:
            raise HTTPException(503, "too many waiting requests: try again", {"Retry-After": "1"}) from error
        order = np.argsort(-row, kind="stable")
        best = [{"class": facts.classes[place], "probability": float(row[place])} for place in order[:top]]
        predicted: Any = facts.classes[order[0]]
        if facts.multilabel:
            predicted = [facts.classes[place] for place in np.flatnonzero(row >= facts.thresholds)]
        return {"predicted": predicted, "top": best}

    return app


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").lower().startswith("multipart/form-data")


async def file_of(request: Request, body: bytes) -> bytes:
    """The one file of a form (`curl -F file=@photo.jpg`), whatever its field is called.

    Raises:
        HTTPException: 400, this is no form; 422, it has no file, or several.
    """

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        form = await MultiPartParser(request.headers, stream()).parse()
    except (MultiPartException, KeyError) as error:
        raise HTTPException(400, f"this form cannot be read: {error}") from error
    files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
    if len(files) != 1:
        raise HTTPException(422, f"the form has {len(files)} files: send one, such as curl -F file=@photo.jpg")
    return await files[0].read()


def curl(address: str, *, token: bool = False) -> str:
    """The command that sends a picture.

    Args:
        address: of the server, such as `http://127.0.0.1:8000/`.
        token: whether it asks for one.
    """
    header = '-H "Authorization: Bearer $SWEEP_TOKEN" ' if token else ""
    return f"curl {header}-F file=@photo.jpg '{address}predict?top=3'"


def _name_of(host: str) -> str:
    """A Host header without its port; of an IPv6 address without its brackets."""
    name, _, port = host.rpartition(":")
    return (name if name and port.isdecimal() and not name.endswith(":") else host).strip("[]").lower()


def _page(schema: dict[str, Any], address: str, token: bool) -> str:
    """The OpenAPI description as a page that needs nothing from elsewhere."""
    from html import escape

    rows = "".join(
        f"<tr><td><code>{method.upper()} {escape(path)}</code></td><td>{escape(each.get('description', ''))}</td></tr>"
        for path, methods in schema["paths"].items()
        for method, each in methods.items()
    )
    return (
        "<!doctype html><meta charset=utf-8><title>Image classifier</title>"
        "<style>body{font:16px system-ui;max-width:48em;margin:2em auto}td{padding:.3em 1em .3em 0}</style>"
        f"<h1>Image classifier</h1><table>{rows}</table>"
        f"<pre>{escape(curl(address, token=token), quote=False)}</pre>"
        '<p>OpenAPI description: <a href="openapi.json">openapi.json</a></p>'
    )
