from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep_runner.durable import (
    AppendFile,
    SweepLock,
    cut_torn_tail,
    lock_holder,
    remove_leftovers,
    write_atomically,
)
from sweep_runner.errors import RequestError
from trainables.digests import sealed


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        (b"", b""),
        (b"whole\n", b"whole\n"),
        (b"one\ntw", b"one\n"),
        (b"never finished", b""),
        (b"one\n" + b"x" * 200_000, b"one\n"),
        (b"one\n\0\0\0", b"one\n"),
    ],
)
def test_a_torn_tail_is_cut_to_the_last_newline(tmp_path: Path, content: bytes, kept: bytes) -> None:
    path = tmp_path / "log"
    path.write_bytes(content)
    assert cut_torn_tail(path) == len(content) - len(kept)
    assert path.read_bytes() == kept


def test_a_missing_file_has_no_torn_tail(tmp_path: Path) -> None:
    assert cut_torn_tail(tmp_path / "none") == 0


@pytest.mark.parametrize("end", [b"", b"\x0b"], ids=["lacks its newline", "its newline was changed"])
def test_a_last_line_that_is_whole_by_its_checksum_stays(tmp_path: Path, end: bytes) -> None:
    path = tmp_path / "log"
    line = sealed(b'{"a":1}')
    path.write_bytes(line + b"\n" + line + end)
    assert cut_torn_tail(path) == 0
    assert path.read_bytes() == (line + b"\n") * 2
    assert not (tmp_path / "none").exists()


@given(lines=st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")), max_size=8), data=st.data())
def test_cutting_at_any_byte_loses_at_most_the_last_line(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("cut") / "log"
    with AppendFile(path) as file:
        file.append_many(lines)
    whole = path.read_bytes()
    length = data.draw(st.integers(0, len(whole)))
    os.truncate(path, length)
    cut_torn_tail(path)
    assert path.read_bytes() == b"".join(line + b"\n" for line in lines[: whole[:length].count(b"\n")])


def test_appended_lines_are_there_in_order_and_the_file_may_be_reopened(tmp_path: Path) -> None:
    with AppendFile(tmp_path / "log") as file:
        file.append(b"one")
        file.append_many([b"two\n", b"three"])
    with AppendFile(tmp_path / "log") as file:
        file.append(b"four\n")
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\nthree\nfour\n"
    with pytest.raises(ValueError, match="closed"):
        file.append(b"five")


def test_an_append_to_a_full_disk_leaves_the_file_as_it_was(tiny_disk: Path) -> None:
    path = tiny_disk / "log"
    with AppendFile(path) as file:
        file.append(b"x" * 100)
        before = path.read_bytes()
        with pytest.raises(OSError, match="No space"):
            file.append(b"y" * 2_000_000)
        assert path.read_bytes() == before
        file.append(b"fits")  # and goes on when there is room
    assert path.read_bytes() == before + b"fits\n"
    path.unlink()


def test_an_append_beyond_the_allowed_file_size_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    # A limit on the file's size makes the kernel take a part of the write, as a filling disk does.
    code = f"""
        import resource, signal
        from pathlib import Path
        from sweep_runner.durable import AppendFile
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        file = AppendFile(Path({str(tmp_path / "log")!r}))
        file.append(b"first")
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        try:
            file.append(b"y" * 5000)
        except OSError:
            print("refused")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"
    assert (tmp_path / "log").read_bytes() == b"first\n"


def test_write_atomically_replaces_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    write_atomically(path, b"old")
    write_atomically(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"

    def fails(file: object) -> None:
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        write_atomically(path, fails)
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomically_on_a_full_disk_keeps_the_old_file(tiny_disk: Path) -> None:
    path = tiny_disk / "table"
    write_atomically(path, b"old")
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"x" * 2_000_000)
    assert path.read_bytes() == b"old"
    assert list(tiny_disk.iterdir()) == [path]
    path.unlink()


def test_leftovers_of_a_killed_write_are_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".part-00000.parquet.1a2b3c4d.partial").write_bytes(b"half")
    (tmp_path / "part-00000.parquet").write_bytes(b"whole")
    assert remove_leftovers(tmp_path) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["part-00000.parquet"]


HOLDER = """
    import sys, time
    from pathlib import Path
    from sweep_runner.durable import SweepLock
    lock = SweepLock(Path(sys.argv[1])).acquire()
    print("held", flush=True)
    time.sleep(60)
"""


def hold(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLDER), str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_and_told_who_holds_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "voc" / "lock"
    path.parent.mkdir()
    holder = hold(path)
    try:
        with pytest.raises(RequestError) as refused:
            SweepLock(path).acquire()
        assert "'voc'" in str(refused.value)
        assert f"process {holder.pid} on" in str(refused.value)
        shown = lock_holder(path)
        assert shown is not None
        assert shown["pid"] == holder.pid
    finally:
        holder.kill()
        holder.wait()
    # A dead process holds nothing.
    assert lock_holder(path) is None
    with SweepLock(path):
        assert (lock_holder(path) or {})["pid"] == os.getpid()
        with pytest.raises(RequestError):
            SweepLock(path).acquire()
    assert lock_holder(path) is None


def test_looking_at_a_lock_does_not_keep_anybody_from_taking_it(tmp_path: Path) -> None:
    assert lock_holder(tmp_path / "lock") is None
    with SweepLock(tmp_path / "lock"):
        pass
    for _ in range(20):
        assert lock_holder(tmp_path / "lock") is None
        with SweepLock(tmp_path / "lock"):
            pass


def test_the_lock_is_not_inherited_by_programs_that_are_started(tmp_path: Path) -> None:
    lock = SweepLock(tmp_path / "lock").acquire()
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], close_fds=False)
    try:
        lock.release()
        assert lock_holder(tmp_path / "lock") is None
    finally:
        child.kill()
        child.wait()


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = _open_files()
    for _ in range(5):
        with SweepLock(tmp_path / "lock"), AppendFile(tmp_path / "log") as file:
            file.append(b"line")
            lock_holder(tmp_path / "lock")
            write_atomically(tmp_path / "whole", b"x")
    assert _open_files() == before


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_what_is_no_file_is_written_to_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE)
    write_atomically(pipe, b"content")
    assert reader.communicate(timeout=30)[0] == b"content"
    assert pipe.is_fifo()
    write_atomically(Path(os.devnull), lambda file: file.write(b"gone"))
    assert Path(os.devnull).is_char_device()


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    write_atomically(tmp_path / "link", b"one")
    write_atomically(tmp_path / "link", b"two")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"two"
    assert {path.name for path in tmp_path.iterdir()} == {"link", "file"}
