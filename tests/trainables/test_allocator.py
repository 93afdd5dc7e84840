"""What is freed while training serves the next step, and goes back at the end."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from trainables.allocator import ENVIRONMENT

STEPS = """
import contextlib, resource, sys, threading
import numpy as np
from trainables.allocator import kept_memory

def step():
    for megabytes in (3, 40, 70):
        np.ones(megabytes << 20, np.uint8)

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() >> 20

def train(block):
    with block:
        step()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(5):
            step()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
        during = resident()
    print(during - resident())

block = kept_memory() if sys.argv[1] == "kept" else contextlib.nullcontext()
if sys.argv[2] == "thread":
    thread = threading.Thread(target=train, args=(block,))
    thread.start()
    thread.join()
else:
    train(block)
"""


def faults_and_megabytes_given_back(*arguments: str, **environment: str) -> tuple[int, int]:
    plain = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    plain["NUMPY_MADVISE_HUGEPAGE"] = "0"  # how many faults huge pages save depends on how much memory is in one piece
    done = subprocess.run(
        [sys.executable, "-c", STEPS, *arguments],
        env={**plain, **environment}, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    faults, megabytes = done.stdout.split()
    return int(faults), int(megabytes)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="needs glibc")
def test_a_step_gets_the_memory_of_the_one_before() -> None:
    faults, _ = faults_and_megabytes_given_back("plain", "main")
    assert faults > 20_000  # what this is about: 5 steps of 113 MiB, a page of memory each time
    faults, given_back = faults_and_megabytes_given_back("kept", "main")
    assert faults < 500
    assert given_back > 50


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="needs glibc")
def test_a_worker_that_trains_in_a_thread_does_too_with_its_environment() -> None:
    faults, given_back = faults_and_megabytes_given_back("kept", "thread", **ENVIRONMENT)
    assert faults < 500
    assert given_back > 50
