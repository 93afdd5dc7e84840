"""A byte-level fuzzer of sweep files: damages the shipped ones and asks `sweep check` about each.

    python -m tests.support.fuzz --files 12000 --seed 1

Each damaged file must be accepted (exit code 0: the damage was harmless) or refused (2) with words for the user;
never a traceback, never a hang.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from sweep_runner.cli.main import main as sweep

SHIPPED = Path(__file__).parents[2] / "sweeps"
# Its trainable comes first: what is left of it after a cut is not a sweep of images, whose check takes seconds.
OWN = b"""\
trainable: synthetic
name: fuzz
fixed: {epochs: 9, noise: 0.0}
space:
  optimizer: [adam, sgd]
  momentum: {low: 0.5, high: 0.9, step: 0.1, when: {optimizer: sgd}}
  lr: {low: 1e-4, high: 1.0e-1, log: true}
baselines:
  known: &a {optimizer: sgd, momentum: 0.9, lr: 1e-3}
  other: {<<: *a, lr: 1e-2}
objective: {metric: val_accuracy, mode: max}
search: {sampler: tpe, trials: 20, options: {group: true}}
pruner: {kind: patient, patience: 1, inner: {kind: hyperband}}
resources: {cpus: 0.5, gpus: auto, max_concurrent: 2, min_free_disk: 2GB}
"""
TOKENS = [
    *(bytes([byte]) for byte in b"{}[],:#&*!|>'\"%@`?-\t\n\r \x00\xff\x85\xc3~$"),
    b"<<: *a",
    b"&a [*a, *a]",
    b"!!python/object/apply:os.system [id]",
    b"...",
    b"\n---\n",
    b"1e999",
    b".nan",
    b"-.inf",
    b"9" * 400,
    b"null",
    b"${HOME}",
    b"../../etc/passwd",
    b"name: a/b",
    b"\x1b[2J",
    "\u202e\ufeff\U0001f9ea".encode(),
    b"[" * 3000,
    b"{a: " * 500,
    b"? ",
    b"<script>",
    b"'; drop table trials; --",
]
LIMIT_S = 20


class Hang(BaseException):
    """A file took more than LIMIT_S of CPU time: how long it waits for others on the machine does not count."""


def damage(seeds: Sequence[bytes], random_: random.Random) -> bytes:
    """One damaged file: a few bytes, tokens, lines or halves of the seeds changed, lost, doubled or swapped."""
    content = bytearray(random_.choice(seeds))
    for _ in range(random_.randint(1, 5)):
        place = random_.randint(0, len(content))
        match random_.randrange(8):
            case 0:
                content[place : place + 1] = bytes([random_.randrange(256)])
            case 1:
                content[place:place] = random_.choice(TOKENS)
            case 2:
                content[place : place + random_.randint(1, 20)] = random_.choice(TOKENS)
            case 3:
                del content[place : place + random_.randint(1, 40)]
            case 4:
                content[place:] = random_.choice(seeds)[place:]
            case 5:
                lines = bytes(content).splitlines(keepends=True)
                lines.insert(random_.randint(0, len(lines)), random_.choice(lines or [b"\n"]))
                content = bytearray(b"".join(lines))
            case 6:
                del content[place:]
            case 7:
                content[place:place] = random_.randbytes(random_.randint(1, 8))
    return bytes(content)


def check(path: Path) -> int:
    """The exit code of `sweep check`.

    Raises:
        AssertionError: it said nothing, or showed a traceback.
        Hang: it computed for too long.
    """
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = sweep(["check", str(path)])
    assert code in (0, 2), f"exit code {code}: {err.getvalue()}"
    assert code == 0 or err.getvalue().strip(), "refused without a word"
    assert "Traceback" not in err.getvalue(), err.getvalue()
    return code


def fuzz(num_files: int, seed: int, seeds: Sequence[bytes], folder: Path) -> tuple[Counter[int], float]:
    """Checks damaged files; how many ended with which exit code, and the longest time in seconds.

    Raises:
        AssertionError: naming the file that was not answered as it should be, which is kept.
    """

    def on_alarm(number: int, frame: FrameType | None) -> None:
        raise Hang(f"more than {LIMIT_S} s of CPU time")

    random_ = random.Random(seed)
    path = folder / "damaged.yaml"
    codes: Counter[int] = Counter()
    longest_s = 0.0
    before = signal.signal(signal.SIGPROF, on_alarm)
    try:
        for number in range(num_files):
            path.write_bytes(damage(seeds, random_))
            began = time.monotonic()
            signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
            try:
                codes[check(path)] += 1
            except BaseException as error:
                kept = path.rename(path.with_name(f"failed-{seed}-{number}.yaml"))
                raise AssertionError(f"{kept}: {type(error).__name__}: {error}") from error
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
            longest_s = max(longest_s, time.monotonic() - began)
    finally:
        signal.signal(signal.SIGPROF, before)
    return codes, longest_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=12_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    seeds = [OWN, *(path.read_bytes() for path in sorted(SHIPPED.glob("*.yaml")))]
    began = time.monotonic()
    codes, longest_s = fuzz(options.files, options.seed, seeds, Path(tempfile.mkdtemp(prefix="fuzz-")))
    print(
        f"{codes.total()} damaged sweep files in {time.monotonic() - began:.0f} s: {codes[2]} refused (exit code 2), "
        f"{codes[0]} unharmed (0), no traceback; the longest took {longest_s:.2f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
