"""Checkpoint folders: written whole or not at all, and checked against their checksums before use.

A checkpoint is a folder `attempt-<a>/checkpoints/epoch-<e>/` with the trainable's files and a manifest. The
manifest is written last and names every file with its size and checksum, and holds its own, so a folder that was cut
short (killed, disk full, truncated later) or changed is told from a good one.
"""

from __future__ import annotations

import math
import os
import shutil
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from trainables.contract import Checkpoint, EpochReport, Mode, Save
from trainables.digests import from_sealed_json, to_sealed_json

MANIFEST = "manifest.json"
_CHUNK_BYTES = 1 << 20


def write_checkpoint(folder: Path, history: Sequence[EpochReport], save: Save) -> Checkpoint:
    """Writes a checkpoint under its final name only when it is whole.

    Args:
        folder: the attempt's folder.
        history: every report so far; the last one is the epoch that the checkpoint is of.
        save: writes the trainable's state.

    Raises:
        OSError: it could not be written (disk full, ...); nothing of it is left.
    """
    epoch = history[-1].epoch
    final = folder / "checkpoints" / f"epoch-{epoch:05d}"
    partial = final.with_name(f".partial-{final.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        save(partial)
        files = {str(path.relative_to(partial)): _digest(path) for path in _files(partial)}
        manifest = {
            "epoch": epoch,
            "history": [
                {
                    "epoch": report.epoch,
                    "metrics": dict(report.metrics),
                    "outcomes": report.outcomes,
                    "warnings": report.warnings,
                }
                for report in history
            ],
            "files": {name: {"bytes": size, "crc32": crc} for name, (size, crc) in files.items()},
        }
        with (partial / MANIFEST).open("wb") as file:
            file.write(to_sealed_json(manifest))
            file.flush()
            os.fsync(file.fileno())
        shutil.rmtree(final, ignore_errors=True)
        partial.replace(final)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return Checkpoint(final, epoch, tuple(history))


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """The checkpoint in a folder, or None when it is not whole: a file missing, cut short or changed."""
    try:
        manifest = from_sealed_json((folder / MANIFEST).read_bytes())
        history = tuple(
            EpochReport(row["epoch"], row["metrics"], row.get("outcomes", ""), tuple(row.get("warnings", ())))
            for row in manifest["history"]
        )
        for name, expected in manifest["files"].items():
            if _digest(folder / name) != (expected["bytes"], expected["crc32"]):
                return None
        return Checkpoint(folder, manifest["epoch"], history)
    except (OSError, ValueError, KeyError, TypeError):
        # Whatever is wrong with it, the answer is the same: not a checkpoint to go on from.
        return None


def latest_checkpoint(trial: Path) -> Checkpoint | None:
    """The whole checkpoint of the highest epoch, over all attempts of a trial."""
    return next(_whole(sorted(_folders(trial), key=_number, reverse=True)), None)


def checkpoint_of_epoch(trial: Path, epoch: int) -> Checkpoint | None:
    """A whole checkpoint of exactly this epoch, from any attempt."""
    return next(_whole([folder for folder in _folders(trial) if _number(folder) == epoch]), None)


def best_epoch(history: Sequence[EpochReport], metric: str, mode: Mode) -> int | None:
    """The first epoch with the best finite value of a metric, None if no report has one."""
    sign = 1.0 if mode == "max" else -1.0
    finite = [report for report in history if math.isfinite(report.metrics.get(metric, math.nan))]
    return max(finite, key=lambda report: sign * report.metrics[metric]).epoch if finite else None


def drop_checkpoints(attempt: Path, keep_epochs: set[int]) -> None:
    """Removes this attempt's checkpoints of other epochs."""
    for folder in numbered(attempt / "checkpoints", "epoch"):
        if _number(folder) not in keep_epochs:
            shutil.rmtree(folder, ignore_errors=True)


def attempt_folders(trial: Path) -> list[Path]:
    """The folders of a trial's attempts, the first one first."""
    return numbered(trial, "attempt")


def numbered(folder: Path, name: str) -> list[Path]:
    """What is called `NAME-NUMBER` in a folder, by number; nothing else, such as a copy `attempt-1.bak`."""
    found = [path for path in folder.glob(f"{name}-*") if path.name.removeprefix(f"{name}-").isdecimal()]
    return sorted(found, key=_number)


def _folders(trial: Path) -> list[Path]:
    # The newest attempt first: it is the one whose files were written last.
    attempts = reversed(attempt_folders(trial))
    return [folder for attempt in attempts for folder in numbered(attempt / "checkpoints", "epoch")]


def _whole(folders: Sequence[Path]) -> Iterator[Checkpoint]:
    for folder in folders:
        checkpoint = read_checkpoint(folder)
        if checkpoint is not None:
            yield checkpoint


def _number(folder: Path) -> int:
    return int(folder.name.partition("-")[2])


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _digest(path: Path) -> tuple[int, int]:
    size = crc = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            size += len(chunk)
            crc = zlib.crc32(chunk, crc)
    return size, crc
