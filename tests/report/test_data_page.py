"""The page of `sweep data check --html`."""

from __future__ import annotations

import re
from pathlib import Path

from sweep_runner.report.data_page import write_data_page
from trainables.contract import Preparation
from trainables.look import Section, Tile, TileRow

JPEG = b"\xff\xd8\xff\xe0picture"


def test_the_page_is_one_file_with_everything_in_it_and_names_are_escaped(tmp_path: Path) -> None:
    sections = [
        Section("classes", "Classes", "About <them>.", ("class", "all"), (("<cat>", 1234), ("dog", 617)), bars=True),
        Section("odd", "Odd", tiles=(TileRow("1 dark", (Tile(JPEG, 'a"b.jpg', "<dark>"), Tile(b"", "gone.jpg"))),)),
    ]
    preparation = Preparation("f1", {"data": "image_folder in <here>"}, ("the splits leak",))
    write_data_page("pets", Path("pets.yaml"), preparation, sections, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    for text in (
        "&lt;cat&gt;",
        "1,234",
        "--share: 50.0%",
        "&lt;dark&gt;",
        "a&#34;b.jpg",
        "gone.jpg",
        "the splits leak",
    ):
        assert text in page, text
    assert "<cat>" not in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
