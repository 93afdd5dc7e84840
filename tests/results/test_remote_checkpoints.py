"""A worker's checkpoints on a real S3 server: from nodes that share nothing, with the storage gone, with damage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sweep_runner.results.paths import ResultsPaths, SweepPaths
from sweep_runner.results.remote import checkpoints
from sweep_runner.results.remote.address import Address, working_copy
from sweep_runner.results.remote.checkpoints import Place, TrialFiles, bring_checkpoints, digest
from sweep_runner.results.remote.store import Store
from tests.support.s3 import S3Server, s3_server
from trainables.checkpoints import drop_checkpoints, latest_checkpoint, write_checkpoint
from trainables.contract import EpochReport

CONFIG = {"lr": 0.1, "epochs": 5}
BASE = "lab/small/trials/3"


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


@pytest.fixture
def bucket(server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"bucket-{tmp_path.name.replace('_', '-')[-40:].strip('-')}"
    server.make_bucket(name)
    for key, value in server.environment.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(checkpoints, "UPLOAD_PATIENCE_S", 0.2)
    return name


class Node:
    """A machine: its own cache folder, and the driver's working copy or not."""

    def __init__(self, name: str, bucket: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SWEEP_COPIES", str(root / "driver"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(root / name))
        address = Address.parse(f"s3://{bucket}/lab")
        self.paths = ResultsPaths(working_copy(address)).sweep("small")
        self.mark = self.paths.root / ".run"
        self.store = Store(address.below("small"))
        self.here = name == "driver"

    def work(self, attempt: int, run: str = "r1", config: dict[str, object] = CONFIG) -> TrialFiles:
        if self.here:
            self.mark.parent.mkdir(exist_ok=True)
            self.mark.write_text(run)
        mark = self.mark if self.here else Path("/nowhere/.run")
        place = Place.from_json(Place(self.store.address, run, str(mark)).to_json())
        return TrialFiles(place, self.paths.trial(3), self.paths.data, attempt, config)


def train(files: TrialFiles, attempt: int, upto: int) -> None:
    """Epochs with a checkpoint each, from where it stands to here."""
    folder = files.trial / f"attempt-{attempt}"
    resumed = latest_checkpoint(files.trial)
    history = list(resumed.history) if resumed else []
    while len(history) < upto:
        epoch = len(history) + 1
        history.append(EpochReport(epoch, {"score": epoch / 10}))
        write_checkpoint(folder, history, lambda at, epoch=epoch: (at / "state").write_text(f"epoch {epoch}"))  # type: ignore[misc]
        drop_checkpoints(folder, {epoch, epoch - 1})
        files.push()


def test_a_node_that_shares_nothing_goes_on_from_what_another_uploaded(
    server: S3Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Node("driver", bucket, tmp_path, monkeypatch)
    server.put("lab/small/data/index.txt", b"prepared", bucket)
    first = driver.work(1)
    assert first.trial == driver.paths.trial(3), "where the driver's copy is seen, it is written in"
    train(first, 1, 3)
    there = {name for name in server.objects(bucket) if name.endswith("manifest.json")}
    assert {name.split("/")[-2] for name in there} == {"epoch-00002", "epoch-00003"}, "those that are here, no others"

    other = Node("other", bucket, tmp_path, monkeypatch).work(2)
    assert tmp_path / "other" in other.trial.parents
    assert (other.data / "index.txt").read_bytes() == b"prepared"
    resumed = latest_checkpoint(other.trial)
    assert resumed is not None
    assert resumed.epoch == 3
    assert [report.epoch for report in resumed.history] == [1, 2, 3]
    assert (resumed.folder / "state").read_text() == "epoch 3"
    train(other, 2, 5)
    (other.trial / "attempt-2" / "log.txt").write_text("done\n")
    other.finish()
    assert not other.trial.exists(), "a node that is not the driver's keeps nothing"
    assert server.content(f"{BASE}/attempt-2-r1-{digest(CONFIG)}/log.txt", bucket) == b"done\n"

    bring_checkpoints(driver.store, driver.paths, [(3, 5, digest(CONFIG))])
    best = latest_checkpoint(driver.paths.trial(3))
    assert best is not None
    assert best.epoch == 5


def test_a_damaged_checkpoint_is_passed_over(
    server: S3Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(Node("driver", bucket, tmp_path, monkeypatch).work(1), 1, 3)
    folder = f"{BASE}/attempt-1-r1-{digest(CONFIG)}/checkpoints"
    server.put(f"{folder}/epoch-00003/state", b"epoch X", bucket)
    server.put(f"{folder}/epoch-00004/state", b"its manifest never came", bucket)
    resumed = latest_checkpoint(Node("other", bucket, tmp_path, monkeypatch).work(2).trial)
    assert resumed is not None
    assert resumed.epoch == 2


def test_the_checkpoint_of_another_configuration_under_the_same_number_is_not_taken(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver's last seconds were lost with it: the next gave the number to what its sampler proposed then."""
    train(Node("driver", bucket, tmp_path, monkeypatch).work(1), 1, 3)
    other = Node("other", bucket, tmp_path, monkeypatch).work(1, run="r2", config={"lr": 0.2, "epochs": 5})
    assert latest_checkpoint(other.trial) is None


def test_a_trial_goes_on_without_the_storage_and_uploads_what_is_missing_later(
    server: S3Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = Node("driver", bucket, tmp_path, monkeypatch).work(1)
    train(files, 1, 1)
    server.remove_bucket(bucket)
    train(files, 1, 3)
    assert "this checkpoint is on this node only" in capsys.readouterr().err
    server.make_bucket(bucket)
    train(files, 1, 4)
    epochs = {name.split("/")[-2] for name in server.objects(bucket) if name.endswith("manifest.json")}
    assert epochs == {"epoch-00003", "epoch-00004"}
    here = latest_checkpoint(SweepPaths(files.trial.parent.parent).trial(3))
    assert here is not None
    assert here.epoch == 4
