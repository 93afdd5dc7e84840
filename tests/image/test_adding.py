"""Adding a dataset, a loss, a metric, an optimizer or a format takes one file and one line of one table each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.adding import Copy
from trainables.image.choices.losses import LOSSES
from trainables.image.choices.metrics import METRICS
from trainables.image.choices.optimizers import MADE_BY

FILES = {
    "trainables/image/datasets/stripes.py": """
        import io

        import numpy as np
        from PIL import Image

        from trainables.image.datasets.base import Dataset, Example, Listing, table_of, unused_but


        class Stripes(Dataset):
            needs_root = False
            unused_settings = ("root", *unused_but())

            def examples(self, progress=None):
                listed = []
                for number in range(90):
                    pixels = np.random.default_rng(number).integers(0, 99, (8, 8), dtype=np.uint8)
                    pixels[:, ::2] += 100 * (number % 2)
                    file = io.BytesIO()
                    Image.fromarray(pixels).save(file, format="PNG")
                    listed.append(Example(f"{number:02}", [number % 2], image=file.getvalue()))
                return Listing(table_of(listed), ("plain", "striped"))
        """,
    "trainables/image/measures/hinge.py": """
        import torch.nn.functional as F


        def hinge(config, multilabel, class_weights):
            return F.multi_margin_loss
        """,
    "trainables/image/measures/error_rate.py": """
        def error_rate(scored):
            return 1.0 - (scored.predicted == scored.truth).double().mean().item()
        """,
    "trainables/image/training/sign_sgd.py": """
        import torch


        class SignSgd(torch.optim.Optimizer):
            @torch.no_grad()
            def step(self, closure=None):
                for group in self.param_groups:
                    for parameter in group["params"]:
                        parameter -= group["lr"] * parameter.grad.sign()


        def sign_sgd(groups, config):
            return SignSgd(groups, {"lr": config.lr})
        """,
    "trainables/image/deployment/formats/again.py": """
        import shutil

        from trainables.image.deployment.formats.recipe import Recipe


        def recipes(model):
            yield [Recipe("the float model once more", lambda path: shutil.copyfile(model.path, path))]
        """,
}
LINES = {
    ("trainables/image/datasets/__init__.py", "BUILT_IN"): '"stripes": "trainables.image.datasets.stripes:Stripes"',
    ("trainables/image/choices/losses.py", "LOSSES"): '"hinge": LossChoice("trainables.image.measures.hinge:hinge")',
    ("trainables/image/choices/metrics.py", "METRICS"): (
        '"error_rate": Metric("trainables.image.measures.error_rate:error_rate", mode="min", monitored=True)'
    ),
    ("trainables/image/choices/optimizers.py", "MADE_BY"): (
        '"sign_sgd": "trainables.image.training.sign_sgd:sign_sgd"'
    ),
    ("trainables/formats.py", "FORMATS"): '"again": Format("again.onnx", _MODULES + "again", "as it was")',
}
SWEEP = """
name: added
data: {dataset: stripes}
trainable: image_classifier
fixed: {model: mlp6, pretrained: false, finetune: scratch, input_resolution: 8, epochs: 6, batch_size: 8,
        monitor: val_error_rate, early_stopping_patience: 6, schedule: constant}
space: {loss: [hinge], optimizer: [sign_sgd], lr: [0.001, 0.002]}
objective: {metric: val_error_rate, mode: min}
search: {sampler: grid}
export: {formats: [onnx, again]}
"""
EXPORT = """
import json, sys
from pathlib import Path
from trainables.formats import FormatsWanted
from trainables.image.config import ImageConfig
from trainables.image.data_config import DataConfig
from trainables.image.trainable import ImageClassifier
from trainables.local import LocalHandle

folder = Path(sys.argv[1])
trainable = ImageClassifier(DataConfig(dataset="stripes", cache_dir=folder / "cache"), folder / "data")
config = ImageConfig(model="mlp6", pretrained=False, finetune="scratch", input_resolution=8, epochs=6, batch_size=8,
                     lr=0.002, loss="hinge", optimizer="sign_sgd", monitor="val_error_rate", schedule="constant")
trainable.prepare({key: [value] for key, value in config})
handle = LocalHandle(folder / "trial", metric="val_error_rate", mode="min")
trainable.train(config, handle)
(checkpoint,) = folder.glob("trial/**/epoch-00006")
(folder / "package").mkdir()
trainable.export(config, checkpoint, folder / "package", {"sweep": "added", "trial": 0, "checkpoint": str(checkpoint)})
trainable.add_formats(config, folder / "package", FormatsWanted(["again"]))
print(json.dumps(handle.reports[-1].metrics))
"""


def test_one_of_each_is_checked_trained_and_exported(tmp_path: Path) -> None:
    copy = Copy(tmp_path, FILES, LINES)
    (tmp_path / "added.yaml").write_text(SWEEP)
    copy.run("-m", "sweep_runner", "check", "added.yaml")
    metrics = json.loads(copy.run("-c", EXPORT, str(tmp_path / "made")).splitlines()[-1])
    assert metrics["val_error_rate"] == pytest.approx(1 - metrics["val_accuracy"])
    assert metrics["train_accuracy"] > 0.7, "it has learnt"
    package = tmp_path / "made" / "package"
    assert (package / "again.onnx").read_bytes() == (package / "model.onnx").read_bytes()
    schema = copy.run("-m", "sweep_runner", "schema")
    assert all(name in schema for name in ("stripes", '"hinge"', '"val_error_rate"', '"again"'))


def test_every_line_of_the_tables_names_a_function() -> None:
    from pkgutil import resolve_name

    names = [*(each.made_by for each in LOSSES.values()), *(each.computed_by for each in METRICS.values())]
    assert all(callable(resolve_name(name)) for name in [*names, *MADE_BY.values()])
