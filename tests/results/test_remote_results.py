"""Results on a real S3 server: what is there, in which order it comes there, and what a reader brings from it."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from sweep_runner.api import open_results
from sweep_runner.cli.remote import upload_look
from sweep_runner.durable import SweepLock
from sweep_runner.errors import RequestError
from sweep_runner.execution.driver.remote_results import RemoteResults, remote_results
from sweep_runner.execution.publishing.candidates import is_kept
from sweep_runner.execution.worker.messages import Message
from sweep_runner.results.leaderboard import leaderboard
from sweep_runner.results.log import read_events
from sweep_runner.results.paths import ResultsPaths, SweepPaths
from sweep_runner.results.remote import mirror as mirror_module
from sweep_runner.results.remote.address import Address, working_copy
from sweep_runner.results.remote.checkpoints import digest, put_checkpoint
from sweep_runner.results.remote.fetch import EVERYTHING, MODEL, TABLES, refresh
from sweep_runner.results.remote.snapshot import log_of, moment
from sweep_runner.results.remote.store import Store
from sweep_runner.results.state import fold
from sweep_runner.results.uses_of_test import note_look, uses_of_test
from sweep_runner.spec.check import check_spec
from sweep_runner.spec.loader import dump_spec, load_spec
from sweep_runner.spec.model import SweepSpec
from tests.support.s3 import S3Server, s3_server
from tests.support.sweeps import SPEC, drive, open_keeper, report
from trainables.checkpoints import write_checkpoint
from trainables.contract import EpochReport

Machine = Callable[[str], ResultsPaths]


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


@pytest.fixture
def bucket(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket of the test's own."""
    name = f"bucket-{time.monotonic_ns()}"
    server.make_bucket(name)
    for key, value in server.environment.items():
        monkeypatch.setenv(key, value)
    monkeypatch.delenv("SWEEP_RESULTS", raising=False)
    monkeypatch.setattr(mirror_module, "_LAST_PATIENCE_S", 1.0)
    return name


@pytest.fixture
def machine(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The working copy that a machine of this name has."""

    def copy_of(name: str) -> ResultsPaths:
        monkeypatch.setenv("SWEEP_COPIES", str(tmp_path / name))
        return ResultsPaths(working_copy(Address.parse(f"s3://{bucket}/lab")))

    return copy_of


@pytest.fixture
def spec(tmp_path: Path) -> SweepSpec:
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(SPEC))
    return check_spec(load_spec(path)).spec


@pytest.fixture
def warnings() -> list[str]:
    return []


def begin(spec: SweepSpec, paths: SweepPaths) -> None:
    paths.root.mkdir(exist_ok=True)
    paths.spec.write_text(dump_spec(spec))
    paths.environment.write_text("{}")


def run(spec: SweepSpec, paths: SweepPaths, warnings: list[str]) -> RemoteResults:
    """A whole sweep, uploaded."""
    paths.root.mkdir(exist_ok=True)
    with SweepLock(paths.lock), remote_results(paths, warnings.append) as remote:
        assert remote is not None
        begin(spec, paths)
        with open_keeper(spec, paths.root) as keeper:
            remote.start()
            drive(keeper)
    return remote


def top(results: ResultsPaths, name: str = "small") -> list[tuple[int, float | None]]:
    return [(row.trial, row.value) for row in leaderboard(results, name).ranked]


@pytest.mark.parametrize(
    "text", ["s3://", "s3:///prefix", "s3://Bucket/x", "s3://ab", "gs://bucket/x", "s3://bucket/../x", "s3://bu_cket"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(RequestError) as refusal:
        Address.parse(text)
    assert text in str(refusal.value)


def test_two_servers_buckets_have_two_working_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEP_COPIES", str(tmp_path))
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    folders = set()
    for endpoint in ("http://one:9000", "http://two:9000"):
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        folders |= {working_copy(Address.parse(url)) for url in ("s3://box/a/b/", "s3://box/a/b", "s3://box/a-b")}
    assert len(folders) == 4


def test_another_machine_reads_what_was_uploaded(
    machine: Machine, spec: SweepSpec, server: S3Server, bucket: str, warnings: list[str]
) -> None:
    here = machine("a")
    assert run(spec, here.sweep("small"), warnings).problem == ""
    assert warnings == []
    there = machine("b")
    refresh(there, TABLES, None, warnings.append)
    assert top(there) == top(here)
    assert not there.sweep("small").log.exists(), "a leaderboard needs no log"
    refresh(there, EVERYTHING, ["small"], warnings.append)
    for one, other in zip((here, there), (there, here), strict=True):
        for path in (path for path in one.sweep("small").root.rglob("*") if path.is_file()):
            name = path.relative_to(one.sweep("small").root)
            if not name.name.startswith(".") and name.name != "lock":
                assert (other.sweep("small").root / name).read_bytes() == path.read_bytes(), name
    assert not any("lease" in name or ".writable" in name for name in server.objects(bucket))


def test_what_has_not_changed_is_not_brought_again(
    machine: Machine, spec: SweepSpec, server: S3Server, warnings: list[str]
) -> None:
    run(spec, machine("a").sweep("small"), warnings)
    there = machine("b")
    refresh(there, EVERYTHING, ["small"], warnings.append)
    before = len(server.requests)
    refresh(there, EVERYTHING, ["small"], warnings.append)
    refresh(machine("a"), EVERYTHING, ["small"], warnings.append)
    time.sleep(0.1)  # the last lines of the server are on their way
    got = [line for line in server.requests[before:] if line.startswith("GET") and "list-type" not in line]
    assert got == []


def test_python_reads_an_address(machine: Machine, spec: SweepSpec, bucket: str, warnings: list[str]) -> None:
    run(spec, machine("a").sweep("small"), warnings)
    machine("b")
    results = open_results(f"s3://{bucket}/lab")
    assert results.names == ["small"]
    assert len(results.trials("small")) == 6
    assert results.query("select count(*) as n from epochs").to_pylist() == [{"n": 24}]


def test_whatever_moment_is_cut_off_what_is_there_fits_together(
    machine: Machine, spec: SweepSpec, server: S3Server, bucket: str, warnings: list[str], tmp_path: Path
) -> None:
    """After each event of a sweep: what is on the storage then is gone on from elsewhere, and ends the same."""
    here = machine("a").sweep("small")
    here.root.mkdir()
    whole = machine("whole").sweep("small")
    begin(spec, whole)
    with open_keeper(spec, whole.root) as keeper:
        drive(keeper)
    wanted = _rows(whole)
    archives: list[bytes] = []
    with SweepLock(here.lock), remote_results(here, warnings.append) as remote:
        assert remote is not None
        begin(spec, here)
        with open_keeper(spec, here.root) as keeper:
            remote.start()
            while (assignment := keeper.next()) is not None:
                for epoch in range(1, 5):
                    keeper.on_message(assignment.trial, report(assignment, epoch))
                    remote._mirror._pass()
                    archives.append(server.content("lab/small/state.zip", bucket))
                if len(archives) > 8:
                    break
                keeper.on_message(
                    assignment.trial, Message(trial=assignment.trial, attempt=assignment.attempt, outcome="completed")
                )
    assert len({log_of(archive) for archive in archives}) == len(archives)
    for number, archive in enumerate(archives):
        copy = tmp_path / f"cut-{number}"
        copy.mkdir()
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            opened.extractall(copy)
        with open_keeper(spec, copy) as keeper:
            drive(keeper)
        assert _rows(SweepPaths(copy)) == wanted


def _rows(paths: SweepPaths) -> set[tuple[object, ...]]:
    events = [event for event in read_events(paths.log) if type(event).__name__ == "EpochReported"]
    found = [(event.trial, event.epoch, tuple(event.metrics.values())) for event in events]  # type: ignore[attr-defined]
    assert len(set(found)) == len(found)
    return set(found)


def test_a_moment_is_one_between_two_events(machine: Machine, spec: SweepSpec) -> None:
    paths = machine("a").sweep("small")
    begin(spec, paths)
    with open_keeper(spec, paths.root) as keeper:
        drive(keeper)
    at = moment(paths)
    assert (at.log_bytes, at.study_bytes) == (paths.log.stat().st_size, paths.study.stat().st_size)


def test_one_machine_at_a_time(machine: Machine, spec: SweepSpec, warnings: list[str]) -> None:
    here, there = machine("a").sweep("small"), machine("b").sweep("small")
    for paths in (here, there):
        paths.root.mkdir()
    with SweepLock(here.lock), remote_results(here, warnings.append) as remote:
        assert remote is not None
        begin(spec, here)
        with open_keeper(spec, here.root):
            remote.start()
            with SweepLock(there.lock), pytest.raises(RequestError) as refusal, remote_results(there, warnings.append):
                pass
            assert "is being written by process" in str(refusal.value)
            assert "--take-over" in str(refusal.value)
            refresh(machine("b"), TABLES, None, warnings.append)
            assert leaderboard(machine("b"), "small").sweep.state == "RUNNING"
            # Somebody who knows better takes it: the first one notices and uploads no more.
            with SweepLock(there.lock), remote_results(there, warnings.append, take_over=True) as taken:
                assert taken is not None
                remote._mirror._renewed = 0.0
                assert remote._mirror._try() is False
                assert remote.lost
                assert "was taken over" in warnings[-1]
    assert "taken over" in remote.problem


def test_the_lease_of_a_dead_process_is_free(
    machine: Machine, server: S3Server, bucket: str, spec: SweepSpec, warnings: list[str]
) -> None:
    paths = machine("a").sweep("small")
    code = (
        "import sys, os; from pathlib import Path; from sweep_runner.results.paths import SweepPaths\n"
        "from sweep_runner.execution.driver.remote_results import remote_results\n"
        "p = SweepPaths(Path(sys.argv[1])); p.root.mkdir()\n"
        "with remote_results(p, print): os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(paths.root)], check=True, timeout=60)
    assert "lab/small/lease.json" in server.objects(bucket)
    assert run(spec, machine("b").sweep("small"), warnings).problem == ""
    held = {"key": "x", "host": "elsewhere", "pid": 1, "command": "sweep run", "since": "2026-01-01T00:00:00+00:00"}
    lease = {**held, "created": 0.0, "machine": "another", "copy": "another"}
    server.put("lab/small/lease.json", json.dumps(lease).encode(), bucket)
    with pytest.raises(RequestError, match="process 1 on elsewhere"):
        run(spec, machine("b").sweep("small"), warnings)


def test_a_bucket_that_vanishes_and_comes_back_has_everything_in_the_end(
    machine: Machine, spec: SweepSpec, server: S3Server, bucket: str, warnings: list[str]
) -> None:
    results = machine("a")
    paths = results.sweep("small")
    paths.root.mkdir()
    with SweepLock(paths.lock), remote_results(paths, warnings.append) as remote:
        assert remote is not None
        begin(spec, paths)
        with open_keeper(spec, paths.root) as keeper:
            remote.start()
            server.remove_bucket(bucket)
            drive(keeper)
            remote._mirror._state = None
            assert remote._mirror._try() is False
            assert remote._mirror._try() is False
            assert len(warnings) == 1, "it is told once"
            assert f"no bucket {bucket!r}" in warnings[0]
    # It is still gone at the end.
    assert str(paths.root) in remote.problem
    assert f"sweep sync small --results s3://{bucket}/lab" in remote.problem
    server.make_bucket(bucket)
    copied: list[str] = []
    refresh(results, TABLES, None, copied.append)
    assert "not on the storage" in copied[0]
    assert top(results), "and yet it can be looked at"
    with SweepLock(paths.lock), remote_results(paths, warnings.append) as later:
        assert later is not None
        later.start()
    assert later.problem == ""
    there = machine("b")
    refresh(there, EVERYTHING, None, warnings.append)
    assert top(there) == top(results)


def test_a_copy_that_is_ahead_is_kept_and_one_that_went_apart_is_refused(
    machine: Machine, spec: SweepSpec, server: S3Server, bucket: str, warnings: list[str]
) -> None:
    results = machine("a")
    paths = results.sweep("small")
    run(spec, paths, warnings)
    line = b'{"kind":"sweep","time":1.0,"state":"INTERRUPTED","reason":"","data_fingerprint":""}\n'
    with paths.log.open("ab") as log:
        log.write(line)
    (paths.root / ".unsynced").touch()  # as a driver leaves it that dies before its last upload
    refresh(results, EVERYTHING, ["small"], warnings.append)
    assert "is ahead of" in warnings[-1]
    assert paths.log.read_bytes().endswith(line)
    paths.log.write_bytes(paths.log.read_bytes().replace(b'"trial":5', b'"trial":4'))
    with SweepLock(paths.lock), pytest.raises(RequestError, match="gone on differently"), remote_results(paths, print):
        pass
    assert "lab/small/lease.json" not in server.objects(bucket)


def test_a_new_model_is_never_seen_under_the_old_ones_manifest(
    machine: Machine, spec: SweepSpec, server: S3Server, bucket: str, warnings: list[str]
) -> None:
    paths = machine("a").sweep("small")
    paths.root.mkdir()
    paths.best.mkdir()
    with SweepLock(paths.lock), remote_results(paths, warnings.append) as remote:
        assert remote is not None
        begin(spec, paths)
        (paths.best / "model.onnx").write_bytes(b"one")
        (paths.best / "model.json").write_bytes(b"{}")
        remote.start()
        before = len(server.requests)
        shutil.rmtree(paths.best)
        paths.best.mkdir()
        (paths.best / "model.onnx").write_bytes(b"two!")
        (paths.best / "model.json").write_bytes(b'{"origin": 2}')
        assert remote._mirror._try()
        time.sleep(0.1)
    puts = [line.split()[:2] for line in server.requests[before:] if "/best/model" in line and "HEAD" not in line]
    root = f"/{bucket}/lab/small/best"
    assert puts[:3] == [["DELETE", f"{root}/model.json"], ["PUT", f"{root}/model.onnx"], ["PUT", f"{root}/model.json"]]
    server.delete("lab/small/best/model.json", bucket)
    there = machine("b")
    refresh(there, MODEL, ["small"], warnings.append)
    assert not (there.sweep("small").best / "model.json").exists()


def test_keys_that_lead_elsewhere_are_left_alone(
    machine: Machine, spec: SweepSpec, server: S3Server, bucket: str, warnings: list[str], tmp_path: Path
) -> None:
    run(spec, machine("a").sweep("small"), warnings)
    server.put("lab/small/tables/../../../../evil.txt", b"evil", bucket)
    there = machine("b")
    refresh(there, EVERYTHING, None, warnings.append)
    assert top(there)
    assert not list(tmp_path.rglob("evil.txt"))


def test_a_bucket_that_is_not_there_or_refuses_is_found_before_anything_starts(
    machine: Machine, server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(endpoint: str) -> str:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        paths = ResultsPaths(working_copy(Address.parse("s3://no-such-bucket/lab"))).sweep("small")
        paths.root.mkdir()
        with pytest.raises(RequestError) as refusal, remote_results(paths, print):
            pass
        return str(refusal.value)

    monkeypatch.setenv("SWEEP_COPIES", str(tmp_path))
    assert "no bucket 'no-such-bucket'" in refused(server.endpoint)
    assert "cannot be reached" in refused("http://127.0.0.1:9")


def test_a_path_imports_nothing_of_this(tmp_path: Path) -> None:
    code = (
        "import sys; from sweep_runner.cli.main import main; main(['ls', '--results', sys.argv[1]])\n"
        "import sweep_runner.execution.driver.sweep\n"
        "print([name for name in sys.modules if 'remote' in name.split('.')[-2:] and 'sweep_runner' in name])"
    )
    (tmp_path / "results").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "results")], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_what_a_killed_driver_had_yet_to_drop_is_dropped_by_the_next(
    machine: Machine, spec: SweepSpec, server: S3Server, bucket: str, warnings: list[str]
) -> None:
    paths = machine("a").sweep("small")
    run(spec, paths, warnings)  # trials without checkpoints; these are put there as if a worker had
    for trial in range(6):
        for epoch in (3, 4):
            server.put(f"lab/small/trials/{trial}/attempt-1-r-c/checkpoints/epoch-{epoch:05d}/state", b"x", bucket)
    with SweepLock(paths.lock), remote_results(paths, warnings.append) as remote:
        assert remote is not None
        with open_keeper(spec, paths.root) as keeper:
            remote.start()
            keeper.on_drop(remote.drop)
            ranked = [number for number, _ in top(machine("a"))]
    left = sorted(name.split("/")[3] for name in server.objects(bucket) if name.endswith("/state"))
    assert left == sorted(str(number) for number in ranked[:3]), "of the three that are kept, the best epoch's"


def test_a_look_at_test_is_known_on_other_machines(machine: Machine, spec: SweepSpec, warnings: list[str]) -> None:
    here = machine("a")
    run(spec, here.sweep("small"), warnings)
    upload_look(here, "small", note_look(here.sweep("small"), {"sweep": "small", "trial": 1, "epoch": 2}, "model.onnx"))
    there = machine("b")
    refresh(there, TABLES, None, warnings.append)
    assert uses_of_test(there, leaderboard(there, "small")).evaluated == ("trial 1 epoch 2",)


def _save(folder: Path) -> None:
    (folder / "state").write_text("x")


def test_another_machine_has_the_checkpoints_that_a_soup_is_made_of(
    machine: Machine, spec: SweepSpec, bucket: str, tmp_path: Path, warnings: list[str]
) -> None:
    few = spec.model_copy(update={"keep": spec.keep.model_copy(update={"best": 1})})
    here = machine("a").sweep("small")
    run(few, here, warnings)
    state = fold(read_events(here.log), few.objective)
    best, *others = state.ranked()
    store = Store(Address.parse(f"s3://{bucket}/lab").below("small"))
    for each in (best, *others):
        attempt = f"attempt-1-r1-{digest(few.config_of(each.params))}"
        history = [EpochReport(epoch, {"score": 1.0}) for epoch in range(1, (each.best_epoch or 0) + 1)]
        folder = write_checkpoint(tmp_path / attempt, history, _save).folder
        put_checkpoint(store, f"trials/{each.trial}/{attempt}/checkpoints/{folder.name}", folder)

    def brought(name: str, export: dict[str, object]) -> set[int]:
        paths = machine(name).sweep("small")
        paths.root.mkdir(exist_ok=True)
        asked = few.model_copy(update={"export": few.export.model_copy(update=export)})
        with SweepLock(paths.lock), remote_results(paths, warnings.append) as remote:
            assert remote is not None
            remote.bring_checkpoints(asked, state, best.trial)
        return {each.trial for each in (best, *others) if is_kept(paths, each)}

    assert brought("b", {}) == {best.trial}, "it is not evaluated yet"
    assert brought("c", {"soup": "auto"}) == {best.trial, *(each.trial for each in others)}
    assert brought("d", {"ensemble": 2}) == {best.trial, others[0].trial}
