"""What must hold on a GPU, and images/s there: run by `benchmarks/gpu.sh`, without Ray.

Each check is one line and one entry of the JSON file. With `--dry-run` the same code runs on a CPU with tiny sizes: its
verdicts and figures say nothing of a GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
import torch.nn.functional as F

from trainables.image.compute.device import compute_device
from trainables.image.config import ImageConfig
from trainables.image.index import SCHEMA, ImageIndex
from trainables.image.models.factory import build_model
from trainables.image.models.layout import channels_last
from trainables.image.training.classifier import train_classifier
from trainables.image.training.evaluate import compute_logits
from trainables.image.training.graph import GraphRun, keep_on_device
from trainables.image.training.optim import make_optimizer
from trainables.local import LocalHandle

NETS = (
    ("mobilenetv3_small_100", 96, 64),
    ("mobilenetv2_100", 128, 64),
    ("resnet18", 64, 128),
    ("vit_tiny_patch16_224", 224, 64),
    ("resnet50", 224, 64),
    ("resnet50", 224, 128),
)
"""Model, resolution, batch size."""
ALL_CHANGES = {
    "augment": "light", "crop_scale": 0.6, "rotation_degrees": 10, "random_erasing": 0.2, "mixup": 0.2, "cutmix": 1.0,
    "ema_decay": 0.99, "schedule": "cosine", "warmup_epochs": 1, "dropout": 0.1,
}  # fmt: skip
"""What a captured step holds beside the forward and backward pass and the optimizer."""
AGAINST = (("graph", "eager"), ("pixels on the GPU", "eager"), ("all changes, graph", "all changes, eager"))
"""Which losses must be the same, but for what two runs of the second differ by."""
FP16 = {"fp16": "off", "fp16, graph": "on"}
TINY_NETS = (("mlp6", 16, 8), ("test_resnet", 32, 8))
_WARM_UP, _STEPS = 10, 60


@dataclass(frozen=True)
class Outcome:
    """One line of the table.

    Attributes:
        what: was looked at.
        value: found, in words or as a number.
        holds: whether it is as it must be; None: a figure that nothing must be.
    """

    what: str
    value: str
    holds: bool | None = None


class Noise:
    """Images in memory of three classes, each with a tint of its own."""

    def __init__(self, num: int, size: int) -> None:
        drawn = np.random.default_rng(0)
        labels = [[number % 3] for number in range(num)]
        self.images: npt.NDArray[np.uint8] = drawn.integers(0, 200, (num, size, size, 3), dtype=np.uint8)
        for number, (label,) in enumerate(labels):
            self.images[number, :, :, label] += 50
        columns: dict[str, Any] = {
            "example": [f"{number}.png" for number in range(num)],
            "path": [None] * num,
            "image": [b""] * num,
            "box": [None] * num,
            "labels": labels,
            "group": [str(number) for number in range(num)],
            "split": ["val" if number % 5 == 4 else "train" for number in range(num)],
        }
        fields = [field for field in SCHEMA if field.name in columns]
        table = pa.table([pa.array(columns[one.name], one.type) for one in fields], names=[one.name for one in fields])
        self.index = ImageIndex(table, ("a", "b", "c"), False, "noise")

    def gather(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        return self.images[rows]


def trained(data: Noise, folder: Path, **values: Any) -> list[Mapping[str, float]]:
    """The reports of a trial on this machine's device."""
    config = ImageConfig.model_validate({"pretrained": False, "augment": "light", **values})
    with (folder.parent / "trials.log").open("a") as log, contextlib.redirect_stdout(log):
        handle = LocalHandle(folder, seed=3)
        train_classifier(config, data.index, data, None, handle)
    return [report.metrics for report in handle.reports]


def checks(folder: Path, dry: bool) -> list[Outcome]:
    """Correctness, and a batch that does not fit."""
    model, size, batch, num = ("test_resnet", 32, 8, 60) if dry else ("resnet18", 64, 64, 1_600)
    data, base = Noise(num, size), {"model": model, "input_resolution": size, "batch_size": batch, "epochs": 3}
    found = _cpu_against_device(data, model, size)
    last: dict[str, float] = {}
    for name, values in {
        "eager": {"graph": "off"},
        "eager again": {"graph": "off"},
        "graph": {"graph": "on"},
        "all changes, eager": {"graph": "off", **ALL_CHANGES},
        "all changes, eager again": {"graph": "off", **ALL_CHANGES},
        "all changes, graph": {"graph": "on", **ALL_CHANGES},
        "pixels on the GPU": {"pixels_on_device": "on"},
        "bf16": {"mixed_precision": "bf16"},
        "bf16, graph": {"mixed_precision": "bf16", "graph": "on"},
        **({} if dry else {name: {"mixed_precision": "fp16", "graph": way} for name, way in FP16.items()}),
    }.items():
        reports = trained(data, folder / name.replace(" ", "-"), **{"mixed_precision": "no", **base, **values})
        last[name] = reports[-1]["train_loss"]
        fell = reports[-1]["train_loss"] < reports[0]["train_loss"]
        if values.get("graph") == "on" and not dry:
            for what, figure in (("steps", "graph_fraction"), ("validation batches", "eval_graph_fraction")):
                share = reports[-1].get(figure, 0.0)
                found.append(Outcome(f"{name}: share of {what} that a graph ran", f"{share:.3f}", share > 0.5))
        if name == "pixels on the GPU" and not dry:
            kept = reports[-1]["pixels_on_device_bytes"]
            found.append(Outcome("images that stay on the GPU", f"{kept / 1e6:.1f} MB", kept == data.images.nbytes))
        found.append(Outcome(f"{name}: loss falls", f"{reports[0]['train_loss']:.4f} → {last[name]:.4f}", fell))
    twice = {name: abs(last[name] - last[f"{name} again"]) for name in ("eager", "all changes, eager")}
    found += [Outcome(f"{name}, same seed twice: loss apart", f"{apart:.2g}") for name, apart in twice.items()]
    found[-2] = replace(found[-2], holds=twice["eager"] <= 1e-3)
    for name, other in AGAINST:
        apart = abs(last[name] - last[other])
        found.append(
            Outcome(f"{name} against {other}: loss apart", f"{apart:.2g}", apart <= max(2 * twice[other], 1e-3))
        )
    for name in ("bf16",) if dry else ("bf16", "fp16"):
        apart = abs(last[f"{name}, graph"] - last[name])
        found.append(Outcome(f"{name}, graph against {name}: loss apart", f"{apart:.2g}"))
    if not dry:
        found.append(_out_of_memory(folder))
    return found


def _cpu_against_device(data: Noise, model: str, size: int) -> list[Outcome]:
    torch.manual_seed(0)
    net = build_model(ImageConfig(model=model, input_resolution=size, pretrained=False), 3).eval()
    rows = np.arange(24 if len(data.images) < 400 else 400)  # several batches of 64, and a smaller one
    here = compute_logits(net, data, rows, torch.device("cpu"))
    found = []
    for what, graph in (("GPU", False), ("final evaluation as a graph", True)):
        there = compute_logits(net, data, rows, compute_device(), graph=graph)
        apart = float(np.abs(here - there).max() / np.abs(here).max())
        found.append(Outcome(f"CPU against {what}: logits apart, relative", f"{apart:.2g}", apart < 2e-2))
    return found


def _out_of_memory(folder: Path) -> Outcome:
    """A batch of twice the memory of the GPU."""
    free, _ = torch.cuda.mem_get_info()
    batch = min(65_536, 2 * free // (90 << 20))  # ResNet-50 at 224 px in float32 takes about 90 MB per image
    data = Noise(int(batch * 1.3), 224)
    reports = trained(
        data, folder / "oom", model="resnet50", input_resolution=224, batch_size=int(batch), epochs=1,
        mixed_precision="no", augment="none",
    )  # fmt: skip
    size = reports[0].get("micro_batch_size")
    return Outcome(f"batch {batch} does not fit", f"went on with micro-batches of {size}", size is not None)


def figures(folder: Path, dry: bool) -> list[Outcome]:
    """Images/s: a trial with and without a graph, also with its pixels on the GPU, and the step alone on one batch."""
    found = []
    for model, size, batch in TINY_NETS if dry else NETS:
        data = Noise(5 * batch if dry else max(30 * batch, 1_920), size)
        values = {"model": model, "input_resolution": size, "batch_size": batch, "epochs": 2 if dry else 3}
        rates = {
            f"synthetic, {way}": _synthetic(model, size, batch, way == "graph", 3 if dry else _STEPS)
            for way in ("eager", "graph")
            if way == "eager" or not dry
        }
        for graph, kept in (("off", "off"), ("on", "off"), ("on", "on")):
            reports = trained(
                data,
                folder / f"{model}-{size}-{batch}-{graph}-{kept}",
                **values,
                mixed_precision="bf16",
                augment="none",
                graph=graph,
                pixels_on_device=kept,
            )
            rates[f"trial, graph {graph}, pixels on the GPU {kept}"] = max(
                report["images_per_s"] for report in reports[1:]
            )
        name = f"{model}, {size} px, batch {batch}"
        found += [Outcome(f"{name}: {what}", f"{rate:,.0f}") for what, rate in rates.items()]
        eager, _, best = list(rates.values())[-3:]
        found.append(Outcome(f"{name}: graph and pixels on the GPU, as a multiple of neither", f"{best / eager:.2f}"))
        if captured := rates.get("synthetic, graph"):
            found.append(Outcome(f"{name}: of the captured step alone", f"{best / captured:.2f}"))
    return found


def _synthetic(model: str, size: int, batch: int, graph: bool, steps: int) -> float:
    """Images/s of the step on one batch that stays on the device."""
    device = compute_device()
    config = ImageConfig(model=model, input_resolution=size, pretrained=False)
    net = channels_last(build_model(config, 3).to(device)).train()
    optimizer = make_optimizer(config, net)
    images = torch.randn(batch, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
    targets = torch.randint(0, 3, (batch,), device=device)

    def plain(images: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.autocast(device.type, torch.bfloat16):
            logits = net(images)
        loss = F.cross_entropy(logits.float(), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach(), logits.detach()

    step: Callable[[torch.Tensor, torch.Tensor], object] = plain
    if graph:
        keep_on_device(optimizer, device)
        step = GraphRun(plain)
    for number in range(_WARM_UP + steps):
        if number == _WARM_UP:
            _wait(device)
            began = time.perf_counter()
        step(images, targets)
    _wait(device)
    return batch * steps / (time.perf_counter() - began)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dry-run", action="store_true", help="on a CPU, with tiny sizes")
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    if not options.dry_run and not torch.cuda.is_available():
        print("there is no GPU here: --dry-run tries the script on a CPU", file=sys.stderr)
        return 2
    options.folder.mkdir(parents=True, exist_ok=True)
    found: list[Outcome] = []
    for part in (checks, figures):
        try:
            found += part(options.folder, options.dry_run)
        except Exception as error:  # noqa: BLE001 - the other part is run all the same, and this is a line of the table
            found.append(Outcome(part.__name__, f"{type(error).__name__}: {error}", False))
    name = "a CPU (dry run)" if options.dry_run else torch.cuda.get_device_name()
    options.json.write_text(
        json.dumps({"on": name, "torch": torch.__version__, "rows": [asdict(one) for one in found]})
    )
    for one in found:
        verdict = {True: "ok", False: "WRONG", None: ""}[one.holds]
        print(f"{verdict:5}  {one.what}: {one.value}")
    return int(any(one.holds is False for one in found))


if __name__ == "__main__":
    sys.exit(main())
