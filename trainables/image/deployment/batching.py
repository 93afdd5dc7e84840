"""Dynamic batching: images that wait at the same time go through the model together; one alone waits for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from trainables.image.package import Package

Pixels = npt.NDArray[np.uint8]
Row = npt.NDArray[np.float32]
_Waiting = tuple[Pixels, asyncio.Future[Row]]

MAX_WAITING = 1024
"""Images that may wait for the model."""


class Batcher:
    """Gathers images and runs the model on them.

    While the model runs, images gather, and the next run takes all of them. When it is free, it waits for further
    images only if some are being decoded, and not longer than `max_wait_s`.

    Args:
        package: the model.
        max_batch: images that go through it together, at most.
        max_wait_s: how long the first of them waits for others that are on their way.
    """

    def __init__(self, package: Package, max_batch: int, max_wait_s: float) -> None:
        self._package, self._max_batch, self._max_wait_s = package, max_batch, max_wait_s
        # None: an image that was on its way is not to come.
        self._waiting: asyncio.Queue[_Waiting | None] = asyncio.Queue()
        self._num_waiting = self._num_coming = 0
        self._model = ThreadPoolExecutor(1, thread_name_prefix="model")
        self.largest_batch = 0

    @contextmanager
    def coming(self) -> Iterator[None]:
        """An image is on its way while the block runs, which decodes it, or fails to."""
        self._num_coming += 1
        try:
            yield
        finally:
            self._num_coming -= 1
            if not self._num_coming:
                self._waiting.put_nowait(None)

    async def probabilities(self, pixels: Pixels) -> Row:
        """Of one image, (classes,).

        Raises:
            asyncio.QueueFull: too many wait already.
        """
        if self._num_waiting >= MAX_WAITING:
            raise asyncio.QueueFull
        answer: asyncio.Future[Row] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((pixels, answer))
        self._num_waiting += 1
        try:
            return await answer
        finally:
            self._num_waiting -= 1

    async def run(self) -> None:
        """Runs batches for ever."""
        while True:
            batch = await self._gathered()
            self.largest_batch = max(self.largest_batch, len(batch))
            try:
                await self._answer(batch)
            except Exception as error:  # noqa: BLE001 - belongs to the requests; the next batch goes on
                if len(batch) > 1:
                    await self._answer_each(batch)
                else:
                    _fail(batch, error)

    async def _gathered(self) -> list[_Waiting]:
        """The next batch: what waits, and what comes in time."""
        loop = asyncio.get_running_loop()
        batch: list[_Waiting] = []
        while not batch:
            if (first := await self._waiting.get()) is not None:
                batch.append(first)
        until = loop.time() + self._max_wait_s
        while len(batch) < self._max_batch:
            if not self._waiting.empty():
                one = self._waiting.get_nowait()
            elif not self._num_coming or (left := until - loop.time()) <= 0:
                break
            else:
                try:
                    one = await asyncio.wait_for(self._waiting.get(), left)
                except TimeoutError:
                    break
            if one is not None:
                batch.append(one)
        return batch

    async def _answer(self, batch: list[_Waiting]) -> None:
        images = np.stack([pixels for pixels, _ in batch])
        found = await asyncio.get_running_loop().run_in_executor(self._model, self._package.probabilities, images)
        for (_, answer), row in zip(batch, found, strict=True):
            if not answer.done():  # a client that went away has cancelled it
                answer.set_result(row)

    async def _answer_each(self, batch: list[_Waiting]) -> None:
        """What cannot be run together (for want of memory, say) is run one by one, and fails alone."""
        for one in batch:
            try:
                await self._answer([one])
            except Exception as error:  # noqa: BLE001 - belongs to its request
                _fail([one], error)


def _fail(batch: list[_Waiting], error: Exception) -> None:
    for _, answer in batch:
        if not answer.done():
            answer.set_exception(error)
