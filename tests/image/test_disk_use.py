"""The forecast of sizes against models that are really made."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trainables.image.config import ImageConfig
from trainables.image.data_config import DataConfig
from trainables.image.disk_use import disk_use
from trainables.image.models.factory import build_model
from trainables.image.models.sizes import num_values
from trainables.image.models.survey import survey
from trainables.image.models.table import MODELS
from trainables.image.training.checkpoint import load_state, save_state


def test_every_model_has_a_size_also_one_that_nobody_tried() -> None:
    assert all(num_values(name, 224) for name in MODELS)
    untried = next(name for name, row in survey().items() if not row["outcome"] and row["parameters"])
    assert num_values(untried, 224)


@pytest.mark.parametrize(
    ("model", "resolution", "width"),
    [
        ("simple_cnn3", 64, None),
        ("mlp6", 32, None),
        ("mlp6", 64, 512),
        ("resnet18", 64, None),
        ("mobilenet_v2", 64, None),
    ],
)
def test_sizes_are_those_of_the_models(model: str, resolution: int, width: int | None) -> None:
    with torch.device("meta"):
        made = build_model(ImageConfig(model=model, input_resolution=resolution, width=width), 1000)
    really = sum(value.numel() for value in made.state_dict().values())
    told = num_values(model, resolution, width)
    assert told is not None
    assert 0.8 * really <= told <= 1.3 * really + 60_000


def test_a_checkpoint_takes_no_more_than_was_forecast(tmp_path: Path) -> None:
    config = ImageConfig(model="simple_cnn3", input_resolution=32)
    model = build_model(config, 10)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.zeros(2, 3, 32, 32)).sum().backward()
    optimizer.step()
    save_state(tmp_path, model, optimizer)
    use = disk_use(DataConfig(), {"model": ["simple_cnn3"], "input_resolution": [32]})
    assert use is not None
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= use.checkpoint_bytes


def test_averaged_weights_take_a_copy_per_epoch_beside_those_that_are_trained() -> None:
    def bytes_with(**values: list[float]) -> int:
        use = disk_use(DataConfig(), {"model": ["resnet18"], "input_resolution": [32], **values})
        assert use is not None
        return use.checkpoint_bytes

    copy = bytes_with(ema_decay=[0.9]) - bytes_with()
    assert copy > 40_000_000
    assert bytes_with(average_weights=[1]) == bytes_with()
    assert bytes_with(average_weights=[1, 5], ema_decay=[0.0, 0.9]) == bytes_with() + 5 * copy


def test_a_model_that_is_not_in_the_table_is_not_known() -> None:
    assert disk_use(DataConfig(), {"model": ["resnet18", "some_new_net"]}) is None


class _Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, (f"touch {self.target}",)


def test_a_pickle_bomb_in_a_checkpoint_does_not_go_off(tmp_path: Path) -> None:
    """A results folder may come from somebody else."""
    config = ImageConfig(model="simple_cnn3", input_resolution=32)
    model = build_model(config, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    save_state(tmp_path, model, optimizer)
    target = tmp_path / "gone-off"
    torch.save({"optimizer": _Bomb(target), "scaler": {}, "random": {}}, tmp_path / "state.pt")
    with pytest.raises(Exception, match=r"weights_only|Unsupported"):
        load_state(tmp_path, model, optimizer)
    assert not target.exists()
    torch.load(tmp_path / "state.pt", weights_only=False)
    assert target.exists(), "it is a real one"
