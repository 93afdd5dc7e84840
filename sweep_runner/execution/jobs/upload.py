"""What of a project goes to the cluster with a job: chosen, measured and refused before anything is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweep_runner.errors import Problem, RequestError

MIB = 1024**2
RAY_LIMIT_MIB = 500
"""Ray keeps what is sent in the memory of its head node, and takes no more than this."""

EXCLUDES = (
    "/results/",
    "/build/",
    "/dist/",
    "node_modules/",
    "*.egg-info/",
    ".mypy_cache/",
    ".ruff_cache/",
    ".pytest_cache/",
    ".ipynb_checkpoints/",
    ".idea/",
    ".vscode/",
    ".env",
    ".netrc",
    "*.pem",
    "*.key",
)
"""Beside what Ray leaves out by itself (.git, .venv, venv, __pycache__, and what .gitignore and .rayignore name):
results, what tools leave, and files that usually hold secrets: whoever may use the cluster can read what is sent."""


@dataclass(frozen=True)
class Folder:
    """A folder that is sent.

    Attributes:
        path: absolute.
        num_files: in it that are sent.
        size_bytes: of these, before they are packed.
    """

    path: Path
    num_files: int
    size_bytes: int


def working_folder(file: Path, given: Path | None) -> Path:
    """The folder that a job runs in on the cluster: as given, the current one, or that of a sweep file outside it."""
    if given is not None:
        folder = given.expanduser().absolute()
        if not folder.is_dir():
            raise RequestError(f"--working-dir {given}: no such folder")
        return folder
    here = Path.cwd()
    return here if file.absolute().resolve().is_relative_to(here.resolve()) else file.absolute().parent


def measure(folder: Path, excludes: Sequence[str], limit_mib: int, *, needed: Path | None = None) -> Folder:
    """Looks at what of a folder would be sent.

    Args:
        folder: absolute.
        excludes: patterns as in .gitignore, beside those of `EXCLUDES`.
        limit_mib: it may hold no more than this.
        needed: a file that must be among it.

    Raises:
        RequestError: it is too large, cannot be read, or `needed` would be left out.
    """
    sizes = _selected(folder, [*EXCLUDES, *excludes])
    total = sum(sizes.values())
    problems = []
    if total > limit_mib * MIB:
        places: Counter[str] = Counter()
        for path, size in sizes.items():
            parts = path.relative_to(folder).parts
            places["/".join(parts[:2]) + ("/" if len(parts) > 2 else "")] += size
        largest = ", ".join(f"{place} {size / MIB:,.0f} MiB" for place, size in places.most_common(5))
        problems.append(
            Problem(
                f"{folder}: {total / MIB:,.0f} MiB in {len(sizes):,} files would be sent, more than {limit_mib} MiB",
                hint=f"Largest: {largest}.\n    Exclude what the trials do not need (--exclude PATTERN, or a line in "
                f".rayignore), keep data on the cluster's shared storage, or raise --upload-limit (up to "
                f"{RAY_LIMIT_MIB}).",
            )
        )
    if needed is not None and needed not in sizes:
        problems.append(
            Problem(f"{needed} would not be sent: a pattern excludes it", hint="Look at .gitignore and --exclude.")
        )
    if problems:
        raise RequestError(problems)
    return Folder(folder, len(sizes), total)


def _selected(folder: Path, excludes: list[str]) -> dict[Path, int]:
    """The files that Ray would pack, with their sizes: by its own walk (a private place), so that it is these."""
    from ray._private.ray_constants import get_runtime_env_default_excludes
    from ray._private.runtime_env.packaging import _dir_travel, _get_excludes

    sizes: dict[Path, int] = {}

    def look(path: Path) -> None:
        if path.is_file():
            sizes[path] = path.stat().st_size

    patterns = [*get_runtime_env_default_excludes(), *excludes]
    try:
        _dir_travel(folder, [_get_excludes(folder, patterns)], look, include_gitignore=True)
    except (OSError, RecursionError) as error:
        raise RequestError(
            f"{folder}: cannot be sent ({error})", hint="Exclude what cannot be read: --exclude PATTERN"
        ) from error
    return sizes
