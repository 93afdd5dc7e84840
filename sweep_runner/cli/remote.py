"""What of remote results each command needs here, and how it comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep_runner.results.paths import ResultsPaths

if TYPE_CHECKING:
    from sweep_runner.results.state import TrialSummary
    from sweep_runner.spec.model import SweepSpec

_TABLES_OF_ALL = ("ls", "query", "app")
_TABLES = ("top", "note", "star")
_MODEL = ("predict", "serve")
_MODEL_AND_TABLES = ("evaluate",)
_EVERYTHING = (
    "show", "explain", "reproduce", "compare", "report", "plots", "dashboard", "export", "resume", "extend", "retry",
    "soup", "resolutions",
)  # fmt: skip
_NAMES = ("name", "model", "first", "second", "data", "of")


def open_remote(results: str, command: str, arguments: Mapping[str, Any], warn: Callable[[str], None]) -> ResultsPaths:
    """The working copy of remote results, with what a command needs of them as new as on the storage.

    Args:
        results: `s3://bucket/prefix`.
        command: its name.
        arguments: of the command, by their names.
        warn: told what the user should know of the copy.

    Raises:
        RequestError: this is no address, or the storage cannot be used.
    """
    from sweep_runner.results.remote.address import Address, working_copy

    found = ResultsPaths(working_copy(Address.parse(results)))
    bring_for(found, command, arguments, warn)
    return found


def bring_for(results: ResultsPaths, command: str, arguments: Mapping[str, Any], warn: Callable[[str], None]) -> None:
    """Brings what a command needs; what runs a new sweep, or reads none, needs nothing."""
    from sweep_runner.results.remote.fetch import EVERYTHING, MODEL, TABLES, refresh
    from sweep_runner.results.remote.store import StoreError

    given = [arguments.get(name) for name in _NAMES]
    # NAME/3 is a trial of NAME. What is no sweep's name is not found there, and nothing is brought.
    names = {text.partition("/")[0] for text in given if isinstance(text, str)}
    try:
        if command in _TABLES_OF_ALL:
            refresh(results, TABLES, None, warn)
        elif command in _TABLES:
            refresh(results, TABLES, names, warn)
        elif command in _MODEL:
            refresh(results, MODEL, names, warn)
        elif command in _MODEL_AND_TABLES:
            refresh(results, MODEL | TABLES, names, warn)
        elif command in _EVERYTHING:
            refresh(results, EVERYTHING, names, warn)
    except StoreError as error:
        raise error.as_request() from error


def bring_checkpoint(results: ResultsPaths, spec: SweepSpec, summary: TrialSummary) -> None:
    """Brings the checkpoint of a trial's best epoch, where results are remote and it is not here.

    Raises:
        StoreError: the storage does not answer.
    """
    from sweep_runner.results.paths import remote_url

    if remote_url(results.root) is None or summary.best_epoch is None:
        return
    from sweep_runner.results.remote.address import address_of
    from sweep_runner.results.remote.checkpoints import bring_checkpoints, digest
    from sweep_runner.results.remote.store import Store

    address = address_of(results.root)
    assert address is not None
    wanted = [(summary.trial, summary.best_epoch, digest(spec.config_of(summary.params)))]
    bring_checkpoints(Store(address.below(spec.name)), results.sweep(spec.name), wanted)


def upload_look(results: ResultsPaths, name: str, look: Path) -> None:
    """Uploads the note that test was looked at, where results are remote.

    Raises:
        StoreError: the storage does not take it.
    """
    from sweep_runner.results.remote.files import upload_file

    upload_file(results, name, look)


def upload_report(results: ResultsPaths, name: str, report: Path) -> str:
    """Uploads a report that was written after its sweep had ended; where it is then. Empty: results are a path.

    Raises:
        StoreError: the storage does not take it.
    """
    from sweep_runner.results.paths import remote_url

    url = remote_url(results.root)
    if url is None:
        return ""
    from sweep_runner.results.remote.address import address_of
    from sweep_runner.results.remote.store import Store

    address = address_of(results.root)
    assert address is not None
    Store(address.below(name)).put_file(report.name, report)
    return f"{url}/{name}/{report.name}"
