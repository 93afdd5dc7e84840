"""Single files that are written beside a sweep, such as notes: to remote results."""

from __future__ import annotations

from pathlib import Path

from sweep_runner.results.paths import ResultsPaths, remote_url


def upload_file(results: ResultsPaths, name: str, file: Path) -> None:
    """Uploads a file in a folder of the sweep's, where results are remote.

    Args:
        results: where the sweep is.
        name: of the sweep.
        file: in a folder that is in the sweep's.

    Raises:
        StoreError: the storage does not take it.
    """
    if remote_url(results.root) is None:
        return
    from sweep_runner.results.remote.address import address_of
    from sweep_runner.results.remote.store import Store

    address = address_of(results.root)
    assert address is not None
    Store(address.below(name)).put_file(f"{file.parent.name}/{file.name}", file)
