"""The checkpoint of an ensemble: its members' own, each in a folder, and their configs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from trainables.combining import Member
from trainables.image.config import ImageConfig

MEMBERS_FILE = "members.json"
"""In a checkpoint: its members' configs. Their own files are in the folders `member-01`, ..."""


def joined_config(members: Sequence[Member[ImageConfig]]) -> ImageConfig:
    """Of the whole, to evaluate and export it: pixels of the largest resolution, the first one's threshold."""
    largest = max(members, key=lambda each: each.config.input_resolution).config
    return largest.model_copy(update={"threshold": members[0].config.threshold})


def join(members: Sequence[Member[ImageConfig]], multilabel: bool, files: Sequence[str], target: Path) -> None:
    """Writes a checkpoint that holds the members' own.

    Args:
        members: two or more.
        multilabel: as in `ImageIndex`.
        files: that a checkpoint may have of what is needed to load a model.
        target: an existing, empty folder.
    """
    for number, member in enumerate(members):
        folder = member_folder(target, number)
        folder.mkdir()
        for name in files:
            if (member.checkpoint / name).exists():
                shutil.copyfile(member.checkpoint / name, folder / name)
    told = {"multilabel": multilabel, "configs": [member.config.model_dump(mode="json") for member in members]}
    (target / MEMBERS_FILE).write_text(json.dumps(told), encoding="utf-8")


def member_folder(checkpoint: Path, number: int) -> Path:
    """Where a checkpoint has its n-th member, counted from 0."""
    return checkpoint / f"member-{number + 1:02d}"


def members_of(checkpoint: Path) -> tuple[list[ImageConfig], bool]:
    """The configs of a checkpoint's members, and whether they are multi-label; none in one of a single model."""
    if not (checkpoint / MEMBERS_FILE).exists():
        return [], False
    told = json.loads((checkpoint / MEMBERS_FILE).read_bytes())
    return [ImageConfig.model_validate(each) for each in told["configs"]], told["multilabel"]
