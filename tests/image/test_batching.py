"""What goes through the model together: images that wait at the same time, and none that is alone waits for others."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from trainables.image.deployment.batching import Batcher, Pixels, Row
from trainables.image.package import Package, load_package

FOR_EVER_S = 3600.0


def image(channel: int) -> Pixels:
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    pixels[..., channel] = 250
    return pixels


def test_an_image_that_is_alone_waits_for_nothing(color_model: Path) -> None:
    async def story() -> Row:
        batcher = Batcher(load_package(color_model), 8, FOR_EVER_S)
        running = asyncio.create_task(batcher.run())
        row = await asyncio.wait_for(batcher.probabilities(image(1)), 60)
        running.cancel()
        return row

    assert asyncio.run(story()).argmax() == 1


def test_images_that_are_being_decoded_are_waited_for(color_model: Path) -> None:
    async def story() -> tuple[list[int], int]:
        batcher = Batcher(load_package(color_model), 8, FOR_EVER_S)
        running = asyncio.create_task(batcher.run())
        with batcher.coming():
            first = asyncio.create_task(batcher.probabilities(image(0)))
            await asyncio.sleep(0.1)
            assert not first.done()
            second = asyncio.create_task(batcher.probabilities(image(2)))
            await asyncio.sleep(0)
        found = await asyncio.wait_for(asyncio.gather(first, second), 60)
        running.cancel()
        return [int(row.argmax()) for row in found], batcher.largest_batch

    assert asyncio.run(story()) == ([0, 2], 2)


def test_one_that_cannot_be_decoded_holds_nobody_up(color_model: Path) -> None:
    async def story() -> int:
        batcher = Batcher(load_package(color_model), 8, FOR_EVER_S)
        running = asyncio.create_task(batcher.run())
        with batcher.coming():
            answer = asyncio.create_task(batcher.probabilities(image(2)))
            await asyncio.sleep(0.1)
        row = await asyncio.wait_for(answer, 60)
        running.cancel()
        return int(row.argmax())

    assert asyncio.run(story()) == 2


def test_what_fails_together_is_run_one_by_one_and_fails_alone(color_model: Path) -> None:
    class Small(Package):
        """With memory for one image, and for none that is all black."""

        def probabilities(self, images: Pixels) -> Row:
            if len(images) > 1 or not images.any():
                raise MemoryError("too little")
            return super().probabilities(images)

    async def story() -> list[object]:
        batcher = Batcher(Small(color_model / "model.onnx"), 8, FOR_EVER_S)
        running = asyncio.create_task(batcher.run())
        with batcher.coming():
            images = [image(0), np.zeros((8, 8, 3), dtype=np.uint8), image(2)]
            answers = [asyncio.create_task(batcher.probabilities(each)) for each in images]
            await asyncio.sleep(0)
        found = await asyncio.wait_for(asyncio.gather(*answers, return_exceptions=True), 60)
        running.cancel()
        return list(found)

    first, second, third = asyncio.run(story())
    assert isinstance(first, np.ndarray)
    assert isinstance(third, np.ndarray)
    assert (int(first.argmax()), int(third.argmax())) == (0, 2)
    assert isinstance(second, MemoryError)


def test_too_many_are_refused_at_once(color_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.image.deployment.batching.MAX_WAITING", 1)

    async def story() -> None:
        batcher = Batcher(load_package(color_model), 8, FOR_EVER_S)
        first = asyncio.create_task(batcher.probabilities(image(0)))
        await asyncio.sleep(0)
        with pytest.raises(asyncio.QueueFull):
            await batcher.probabilities(image(1))
        running = asyncio.create_task(batcher.run())
        assert (await asyncio.wait_for(first, 60)).argmax() == 0
        running.cancel()

    asyncio.run(story())
