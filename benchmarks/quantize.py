"""8 bits over families of networks: which recipe keeps accuracy, what the file takes, and how fast it is against float.

    python -m benchmarks.quantize [--out results/quantize.jsonl] [MODEL ...]

Every network is exported, put into 8 bits as `export.formats: [onnx-int8]` does it, and held against its float file.
Where there are weights (`--weights DIR`, files of timm's names) a classifier is fitted to photos (`--data DIR` with
train/ and val/) and the drop is of accuracy; else the network has random weights with normalised statistics below the
classifier, and what tells is on how many photos both files agree. Each line of the output is one network; those that
are there are not run again. `--table` prints the lines as the table of `docs/export.md`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.photos import photos
from trainables.image.config import ImageConfig
from trainables.image.deployment.formats.int8 import recipes
from trainables.image.deployment.formats.recipe import CannotConvert, FloatModel
from trainables.image.deployment.onnx_graph import DeployedClassifier, write_onnx
from trainables.image.models.factory import build_model, normalization
from trainables.image.models.weights import read_weights
from trainables.image.package import Package, PackageFacts
from trainables.image.pixels.decode import decode

MODELS = (
    "resnet18", "resnet10t", "mobilenetv2_100", "mobilenetv3_small_100", "mobilenetv3_large_100", "efficientnet_b0",
    "tf_efficientnet_lite0", "regnety_002", "convnext_atto", "vit_tiny_patch16_224", "shufflenet_v2_x1_0",
    "squeezenet1_1", "ghostnet_100", "repvgg_a0", "densenet121", "inception_v3",
)  # fmt: skip
SIDE, NUM_TRAIN, NUM_VAL = 96, 128, 100
ROUNDS = 30


def main(names: Sequence[str], out: Path, data: Path | None, weights: Path | None) -> None:
    """Measures what is not in `out` yet."""
    done = {json.loads(line)["model"] for line in out.read_text().splitlines()} if out.exists() else set()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        given = data if data is not None else photos(Path(folder) / "photos", NUM_TRAIN, NUM_VAL)
        train, val = (_pictures(given / split, count) for split, count in (("train", NUM_TRAIN), ("val", NUM_VAL)))
        for name in names:
            if name in done:
                continue
            began = time.monotonic()
            scratch = Path(tempfile.mkdtemp(dir=folder))
            row = {"model": name, **_measured(name, scratch, train, val, weights)}
            row["seconds"] = round(time.monotonic() - began, 1)
            with out.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)


Pictures = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], tuple[str, ...]]


def _pictures(folder: Path, most: int) -> Pictures:
    """Pixels (N, SIDE, SIDE, 3), class numbers (N,), class names."""
    classes = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir()))
    files = [(path, number) for number, name in enumerate(classes) for path in sorted((folder / name).iterdir())]
    chosen = np.unique(np.linspace(0, len(files) - 1, most).astype(int))
    pixels = np.stack([decode(files[place][0], resolution=SIDE) for place in chosen])
    return pixels, np.array([files[place][1] for place in chosen]), classes


def _measured(name: str, scratch: Path, train: Pictures, val: Pictures, weights: Path | None) -> dict[str, Any]:
    pixels, labels, classes = train
    file = None if weights is None else next(iter(weights.glob(f"{name}*.pth")), None)
    config = ImageConfig(
        model=name, input_resolution=SIDE, pretrained=str(file) if file else False,
        finetune="head" if file else "scratch",
    )  # fmt: skip
    torch.manual_seed(0)
    model = build_model(config, len(classes))
    if file:
        own = model.state_dict()
        given = {key: each for key, each in read_weights(file).items() if key in own and each.shape == own[key].shape}
        model.load_state_dict(given, strict=False)  # all but the classifier
    _fit(model, pixels, labels, estimate=file is None)
    facts = PackageFacts(classes, False, SIDE, 3)
    path = scratch / "model.onnx"
    write_onnx(DeployedClassifier(model, *normalization(model), multilabel=False).eval(), facts, path)
    expected = Package(path).probabilities(val[0])
    right = expected.argmax(axis=1) == val[1]
    row: dict[str, Any] = {
        "weights": bool(file), "mb": path.stat().st_size / 1e6, "accuracy": float(right.mean()),
    }  # fmt: skip
    try:
        for number, group in enumerate(recipes(FloatModel(path, pixels[::2], scratch, 1))):
            row.setdefault("recipes", []).append(_tried(group, scratch / f"{number}.onnx", val, expected))
    except CannotConvert as error:
        row["refused"] = str(error)
    _time([path, *(Path(each.pop("path")) for each in row.get("recipes", ()))], val[0][:1], row)
    return row


def _time(files: Sequence[Path], images: npt.NDArray[np.uint8], row: dict[str, Any]) -> None:
    """CPU time of one picture on one thread, all files in turn: other work on the machine slows all of them."""
    packages = [Package(file) for file in files]
    times: list[list[float]] = [[] for _ in files]
    for _ in range(ROUNDS):
        for package, found in zip(packages, times, strict=True):
            package.probabilities(images)  # what another file left in the caches
            began = time.process_time()
            package.probabilities(images)
            found.append(1000 * (time.process_time() - began))
    for place, found in zip([row, *row.get("recipes", ())], times, strict=True):
        place["ms"] = statistics.median(found)


def _tried(group: Sequence[Any], target: Path, val: Pictures, expected: npt.NDArray[np.float32]) -> dict[str, Any]:
    """The best of a group: by the answers that are as the float file's."""
    found: list[Mapping[str, Any]] = []
    for number, recipe in enumerate(group):
        target = target.with_name(f"{target.stem}-{number}.onnx")
        recipe.write(target)
        answers = Package(target).probabilities(val[0])
        found.append(
            {
                "recipe": recipe.what,
                "path": str(target),
                "mb": target.stat().st_size / 1e6,
                "accuracy": float((answers.argmax(axis=1) == val[1]).mean()),
                "same": float((answers.argmax(axis=1) == expected.argmax(axis=1)).mean()),
                "difference": float(np.abs(answers - expected).mean()),
            }
        )
    return dict(max(found, key=lambda each: (each["same"], -each["difference"])))


def _fit(
    model: torch.nn.Module, pixels: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], *, estimate: bool
) -> None:
    """Statistics of batch normalisation from the pictures, and a classifier by ridge regression on the features."""
    mean, std = (torch.tensor(each).view(1, -1, 1, 1) for each in normalization(model))
    images = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - mean) / std
    head = model.get_classifier()  # type: ignore[operator]
    seen: list[torch.Tensor] = []
    with torch.no_grad():
        if estimate:
            for module in model.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.momentum = 1.0
            model.train()(images[:32])
        model.eval()
        hook = head.register_forward_hook(lambda _module, given, _out: seen.append(given[0].flatten(1)))
        for start in range(0, len(images), 32):
            model(images[start : start + 32])
        hook.remove()
        features = torch.cat(seen).double()
        center, scale = features.mean(dim=0), features.std(dim=0) + 1e-6
        inputs = (features - center) / scale
        targets = torch.nn.functional.one_hot(torch.from_numpy(labels)).double() - 1 / len(set(labels.tolist()))
        ridge = inputs.T @ inputs + len(inputs) * torch.eye(inputs.shape[1], dtype=torch.float64)
        weight = 6 * torch.linalg.solve(ridge, inputs.T @ targets).T / scale
        head.weight.copy_(weight.view_as(head.weight))
        head.bias.copy_(-(weight @ center))


def table(out: Path) -> str:
    """The lines as a Markdown table."""
    lines = [
        "| network | weights | MB float → int8 | recipe | accuracy float → int8 | same answers | CPU ms float → int8 |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in map(json.loads, out.read_text().splitlines()):
        lines += [
            f"| {row['model']} | {'ImageNet' if row['weights'] else 'random'} | {row['mb']:.1f} → {best['mb']:.1f} "
            f"| {best['recipe']} | {row['accuracy']:.3f} → {best['accuracy']:.3f} | {best['same']:.3f} "
            f"| {row['ms']:.3g} → {best['ms']:.3g} |"
            for best in row.get("recipes", ())
        ]
        if "refused" in row:
            lines.append(f"| {row['model']} | | {row['mb']:.1f} | refused: {row['refused']} | | | |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quantize", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--out", type=Path, default=Path("results/quantize.jsonl"))
    parser.add_argument("--data", type=Path, help="photos (train/<class>/, val/<class>/) instead of generated ones")
    parser.add_argument("--weights", type=Path, help="folder of weight files")
    parser.add_argument("--table", action="store_true", help="print the table of what was measured")
    chosen = parser.parse_args()
    if chosen.table:
        print(table(chosen.out))
    else:
        main(chosen.models or MODELS, chosen.out, chosen.data, chosen.weights)
