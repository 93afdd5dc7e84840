"""Torchvision's real downloader against a small archive on a local server."""

from __future__ import annotations

import hashlib
import http.server
import io
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trainables.errors import DataError
from trainables.image.data_config import DataConfig
from trainables.image.datasets.voc import Voc

PHOTOS = {f"p{k}": [("dog" if k % 2 else "cat", (1, 1, 10, 10))] for k in range(4)}


class Server:
    """Serves one archive; counts how often it was fetched, and can break off in the middle."""

    def __init__(self, archive: bytes) -> None:
        self.num_fetched = 0
        self.breaks_off = False
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if not outer.breaks_off:
                    outer.num_fetched += 1
                sent = archive[: len(archive) // 2] if outer.breaks_off else archive
                self.send_response(200)
                self.send_header("Content-Length", str(len(archive)))
                self.end_headers()
                # The redirect check only opens the address and goes away.
                try:
                    self.wfile.write(sent)
                except OSError:
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/voc.tar"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def server(tmp_path: Path, make_voc: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    source = tmp_path / "source"
    made = make_voc(PHOTOS, root=source / "VOCdevkit/VOC2012")
    (made / "ImageSets/Main").mkdir(parents=True)
    (made / "ImageSets/Main/trainval.txt").write_text("".join(f"{name}\n" for name in PHOTOS))
    with tarfile.open(tmp_path / "voc.tar", "w") as tar:
        tar.add(source / "VOCdevkit", "VOCdevkit")
    archive = (tmp_path / "voc.tar").read_bytes()
    server = Server(archive)
    entry = {**DATASET_YEAR_DICT["2012"], "url": server.address, "md5": hashlib.md5(archive).hexdigest()}
    monkeypatch.setitem(DATASET_YEAR_DICT, "2012", entry)
    yield server
    server.server.shutdown()
    server.server.server_close()


def listed(root: Path) -> int:
    return len(Voc(DataConfig(dataset="voc", root=root, download=True)).examples().table)


@pytest.mark.parametrize("below", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_downloads_to_where_root_says_and_only_once(server: Server, tmp_path: Path, below: str) -> None:
    root = tmp_path / "there" / below
    assert listed(root) == 4
    assert (tmp_path / "there/VOCdevkit/VOC2012/JPEGImages/p0.jpg").is_file()
    fetched = server.num_fetched
    assert listed(root) == 4
    assert server.num_fetched == fetched


def test_interrupted_download_is_told_and_mended_by_running_again(server: Server, tmp_path: Path) -> None:
    root = tmp_path / "there"
    server.breaks_off = True
    with pytest.raises(DataError, match=r"could not be fetched into .*there(?s:.*)Run the same again"):
        listed(root)
    assert not (root / "VOCdevkit").exists()
    server.breaks_off = False
    assert listed(root) == 4


def test_damaged_archive_is_found_by_its_checksum_and_fetched_again(server: Server, tmp_path: Path) -> None:
    root = tmp_path / "there"
    root.mkdir()
    (root / "VOCtrainval_11-May-2012.tar").write_bytes(b"\0" * 20_000)
    assert listed(root) == 4
    assert server.num_fetched > 0


def test_interrupted_unpacking_is_found_and_done_again_without_fetching(server: Server, tmp_path: Path) -> None:
    root = tmp_path / "there"
    listed(root)
    fetched = server.num_fetched
    (root / "VOCdevkit/VOC2012/JPEGImages/p3.jpg").unlink()
    assert listed(root) == 4
    shutil.rmtree(root / "VOCdevkit/VOC2012/ImageSets")
    assert listed(root) == 4
    assert server.num_fetched == fetched


def test_own_folder_without_lists_is_not_taken_for_an_interrupted_download(
    server: Server, tmp_path: Path, make_voc: Callable[..., Path]
) -> None:
    root = make_voc({"own": [("bird", (1, 1, 10, 10))]}, root=tmp_path / "own")
    assert listed(root) == 1
    assert server.num_fetched == 0


def test_server_that_is_away_is_told(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.server.shutdown()
    server.server.server_close()
    with pytest.raises(DataError, match=r"data\.download: VOC 2012 could not be fetched(?s:.*)by hand"):
        listed(tmp_path / "there")


@pytest.mark.parametrize("kind", ["above", "absolute", "link", "hard link", "device"])
def test_an_archive_that_reaches_out_of_its_folder_is_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Its checksum is right, so that only the unpacking can refuse it."""
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    root = tmp_path / "there"
    root.mkdir()
    archive = root / DATASET_YEAR_DICT["2012"]["filename"]
    with tarfile.open(archive, "w") as tar:
        entry = tarfile.TarInfo({"above": "../evil", "absolute": str(tmp_path / "evil")}.get(kind, "VOCdevkit/out"))
        if kind in ("link", "hard link"):
            entry.type = tarfile.SYMTYPE if kind == "link" else tarfile.LNKTYPE
            entry.linkname = "../../../evil"
        if kind == "device":
            entry.type = tarfile.CHRTYPE
        content = b"evil" if entry.isreg() else b""
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    monkeypatch.setitem(DATASET_YEAR_DICT, "2012", {**DATASET_YEAR_DICT["2012"], "md5": md5})
    with pytest.raises(DataError, match="could not be fetched"):
        listed(root)
    assert not (tmp_path / "evil").exists()
    assert not (root / "VOCdevkit" / "out").exists()
