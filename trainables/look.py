"""What a trainable shows about its data: sections of a page, with tables and small images."""

from __future__ import annotations

from dataclasses import dataclass

Cell = str | int | float


@dataclass(frozen=True)
class Tile:
    """One small picture.

    Attributes:
        picture: encoded, JPEG or PNG.
        title: the example's name.
        caption: what is to be seen in it.
    """

    picture: bytes
    title: str
    caption: str = ""


@dataclass(frozen=True)
class TileRow:
    """Pictures that belong together.

    Attributes:
        name: what they have in common; empty: nothing is said.
        tiles: the pictures.
    """

    name: str
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        key: names it in links: letters only.
        title: its heading.
        text: what it shows, by which rule, and of how many.
        columns: headings of a table.
        rows: its rows.
        bars: whether its numbers are drawn as bars, too, each as a share of the largest in its column.
        tiles: pictures below it.
    """

    key: str
    title: str
    text: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()
    bars: bool = False
    tiles: tuple[TileRow, ...] = ()
