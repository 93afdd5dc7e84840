"""Records real learning curves with the runner itself.

`python -m benchmarks.curves.record SET --data DIR --weights DIR`

Random settings, no pruner, every trial to its end (`sweeps/*.yaml`); the `epochs` tables become `data/SET.parquet`, a
row per epoch. A head-only set takes some minutes on one CPU, networks from scratch some more, whole pretrained networks
about ten minutes each.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.curves.sources import DATA

SWEEPS = Path(__file__).parent / "sweeps"
WEIGHTS = {
    "mobilenetv2_100": "mobilenetv2_100_imagenet.pth",
    "tf_efficientnet_lite0": "tf_efficientnet_lite0.pth",
    "tf_efficientnet_lite1": "tf_efficientnet_lite1.pth",
    "tf_efficientnet_lite2": "tf_efficientnet_lite2.pth",
}
"""Pretrained networks, and the files of their weights."""
SETS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "flowers-head": ("head", {}),
    "cifar-head": ("head", {"space.input_resolution": [32, 48, 64]}),
    "cifar-scratch": ("scratch", {}),
    "flowers-full": ("full", {}),
}
"""Name → sweep file, and what is set in it."""
_NOT_RECORDED = {"sweep", "attempt", "seed", "host", "device", "name", "state", "reason"}


def parts(
    name: str, data: Path, weights: Path, pretrained: Sequence[str] = tuple(WEIGHTS)
) -> Iterator[tuple[str, list[str]]]:
    """The sweeps that a set consists of: name, and the settings on the command line."""
    kind, given = SETS[name]
    settings = {"data.root": data.absolute(), **given}
    for network in pretrained if kind != "scratch" else [""]:
        if network:
            settings |= {"fixed.model": network, "fixed.pretrained": weights.absolute() / WEIGHTS[network]}
        part = f"{name}-{network}" if network else name
        words = [f"{key}={'null' if value is None else value}" for key, value in settings.items()]
        yield part, [word for setting in (f"name={part}", *words) for word in ("--set", setting)]


def unite(name: str, results: Path, names: list[str]) -> None:
    """Writes the epochs of the recorded sweeps, with each trial's settings, as one small file."""
    import duckdb
    import pyarrow as pa
    import pyarrow.parquet as pq

    from sweep_runner.spec.loader import load_spec

    tables = []
    for part in names:
        spec = load_spec(results / part / "sweep.yaml").spec
        folder = results / part / "tables"
        space = ", ".join(f't."{key}"' for key in spec.space)
        model = "" if "model" in spec.space else f", '{spec.fixed['model']}' as model"
        tables.append(
            duckdb.sql(
                f"select '{part}' as part, t.trial, {space}{model}, e.epoch, e.val_accuracy, e.unseen_accuracy, "
                f"e.epoch_s from '{folder}/epochs/*.parquet' e join '{folder}/trials/*.parquet' t using (trial) "
                "where t.state = 'COMPLETED' order by t.trial, e.epoch"
            ).to_arrow_table()
        )
    table = pa.concat_tables(tables, promote_options="permissive")
    floats = {"val_accuracy", "unseen_accuracy", "epoch_s", "label_smoothing"}
    fields = [field.with_type(pa.float32()) if field.name in floats else field for field in table.schema]
    DATA.mkdir(exist_ok=True)
    pq.write_table(table.cast(pa.schema(fields)), DATA / f"{name}.parquet", compression="zstd")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", choices=SETS)
    parser.add_argument("--data", type=Path, default=Path(), help="One folder of pictures per class.")
    parser.add_argument("--weights", type=Path, default=Path(), help=f"Folder with {', '.join(WEIGHTS.values())}.")
    parser.add_argument("--results", type=Path, help="Where the sweeps go; one that is complete is not run again.")
    parser.add_argument("--networks", nargs="*", choices=WEIGHTS, default=list(WEIGHTS), help="Of the pretrained ones.")
    given = parser.parse_args()
    results = given.results or Path(tempfile.mkdtemp(prefix="curves-"))
    kind, _ = SETS[given.set]
    names = []
    for part, settings in parts(given.set, given.data, given.weights, given.networks):
        names.append(part)
        if (results / part / "best" / "model.onnx").exists():
            continue
        command = [sys.executable, "-m", "sweep_runner", "run", str(SWEEPS / f"{kind}.yaml"), *settings]
        subprocess.run([*command, "--results", str(results)], check=True)
    unite(given.set, results, names)
    print(DATA / f"{given.set}.parquet")


if __name__ == "__main__":
    main()
