"""What checksums cost a whole job: the CPU seconds that go into them, of all that its processes use.

`python -m benchmarks.checksums` runs the job of `benchmarks/whole_job.py` with 12 trials, in an empty cache. Every
function that computes a checksum is timed in every process, with the thread's own CPU clock, so that other work on the
machine does not count. What the processes use in all is looked at three times a second.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.harness import sweep
from benchmarks.photos import photos
from benchmarks.whole_job import SPEC, _random_weights

TRIALS = 12
_TIMED = """\
import hashlib, os, time
import xxhash

_log = os.open(os.environ["CHECKSUM_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def timed(function):
    def call(*args, **options):
        began = time.thread_time()
        found = function(*args, **options)
        os.write(_log, b"%.6f %.9f\\n" % (time.time(), time.thread_time() - began))
        return found
    return call

for name in ("xxh3_64", "xxh3_64_digest", "xxh3_64_intdigest"):
    setattr(xxhash, name, timed(getattr(xxhash, name)))
hashlib.file_digest = timed(hashlib.file_digest)  # of weights
"""


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        work = Path(folder)
        found = photos(work / "photos", 600, 200, size=(320, 240))
        weights = os.environ.get("BENCH_WEIGHTS") or _random_weights(work)
        spec = SPEC.format(photos=found, cache=work / "cache", weights=weights, trials=TRIALS)
        (work / "job.yaml").write_text(spec, encoding="utf-8")
        (work / "site").mkdir()
        (work / "site" / "sitecustomize.py").write_text(_TIMED, encoding="utf-8")
        used = _run(work)
        events = map(json.loads, (work / "results" / "job" / "log.jsonl").read_text().splitlines())
        began = next(event["time"] for event in events if event["kind"] == "start")
        calls = [tuple(map(float, line.split())) for line in (work / "checksums").read_text().splitlines()]
    _tell("until the first trial starts", [took for at, took in calls if at <= began], used, began)
    _tell(f"the whole job, {TRIALS} trials", [took for _, took in calls], used, time.time())


def _run(work: Path) -> list[tuple[float, float]]:
    """Runs the job; what its processes had used in all (CPU seconds), and when."""
    path = os.pathsep.join([str(work / "site"), str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "CHECKSUM_LOG": str(work / "checksums")}
    command = sweep("run", "job.yaml", "--results", "results", "--quiet")
    each: dict[int, float] = {}
    used = []
    with subprocess.Popen(command, cwd=work, env=environment, stdout=sys.stderr) as process:
        while process.poll() is None:
            try:
                root = psutil.Process(process.pid)
                family = [root, *root.children(recursive=True)]
            except psutil.NoSuchProcess:
                break
            for one in family:
                try:
                    times = one.cpu_times()
                except psutil.Error:
                    continue
                each[one.pid] = max(each.get(one.pid, 0.0), times.user + times.system)
            used.append((time.time(), sum(each.values())))
            time.sleep(0.3)
    if process.returncode:
        sys.exit("the job failed")
    return used


def _tell(what: str, calls: list[float], used: list[tuple[float, float]], until: float) -> None:
    seconds = max(cpu for at, cpu in used if at <= until)
    share = 100 * sum(calls) / seconds
    print(f"{what}: {sum(calls):.3f} of {seconds:.1f} CPU seconds in {len(calls)} checksums: {share:.2f} %")


if __name__ == "__main__":
    main()
