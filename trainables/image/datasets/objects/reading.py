"""What readers of annotations share: JSON and XML files, numbers, flags, and the image that is meant."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from trainables.image.datasets.base import Defect
from trainables.image.datasets.objects.annotated import Annotations, FloatBox
from trainables.image.datasets.split_words import SPLIT_FOLDERS

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from trainables.image.datasets.tree import Tree

SPLIT_WORDS = SPLIT_FOLDERS
_FARTHEST = 1e6  # pixels; a number beyond is no place in a picture
_PLAIN = re.compile(rb"(\xef\xbb\xbf)?\s*<[^\0]*\Z")
"""A document in an encoding that writes ASCII as itself."""

_DECLARING = re.compile(rb"<!(?!--|\[CDATA\[)")
_DECLARED = re.compile(rb"""^\s*<\?xml[^>]*?\bencoding\s*=\s*["']([A-Za-z0-9._:-]+)["'][^>]*\?>""")


def json_of(tree: Tree, name: str) -> Any:
    """The content of a JSON file.

    Raises:
        ValueError: it cannot be read, or is not JSON.
    """
    try:
        return json.loads(tree.path(name).read_bytes())
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"malformed JSON: {error}") from error


def xml_of(content: bytes) -> Element:
    """The root of an XML document, its names without their namespaces.

    Encodings that the parser does not know (GB2312, Shift-JIS, ...) are read as they are declared.

    Raises:
        ValueError: it is not XML, or declares entities.
    """
    from xml.etree.ElementTree import ParseError
    from xml.etree.ElementTree import fromstring as parse_fast

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        try:
            # Without a declaration of any kind there is nothing to defend against, and the C parser takes a third.
            parse = parse_fast if _PLAIN.match(content) and not _DECLARING.search(content) else fromstring
            root: Element = parse(content)
        except (ParseError, ValueError) as error:
            declared = _DECLARED.match(content)
            if declared is None or not _is_foreign_encoding(error):
                raise
            text = content[declared.end() :].decode(declared.group(1).decode())
            root = fromstring(text)
    except DefusedXmlException as error:
        raise ValueError(f"refused: {type(error).__name__} (an annotation declares no entities)") from error
    except LookupError as error:
        raise ValueError(f"malformed XML: {error}") from error
    except (ParseError, ValueError) as error:
        raise ValueError(f"malformed XML: {_explained(content, error)}") from error
    for element in root.iter() if b"xmlns" in content else ():
        if isinstance(element.tag, str) and element.tag.startswith("{"):
            element.tag = element.tag.partition("}")[2]
    return root


def declares_encoding(content: bytes) -> bool:
    """Whether an XML document says how its letters are written, by a declaration or by its first bytes."""
    marks = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
    return content.startswith(marks) or _DECLARED.match(content) is not None


def _explained(content: bytes, error: Exception) -> str:
    if not declares_encoding(content):
        try:
            content.decode()
        except UnicodeDecodeError:
            return f"it declares no encoding and is not UTF-8 ({error})"
    return str(error)


def _is_foreign_encoding(error: Exception) -> bool:
    return "encoding" in str(error)


def number_of(value: object, what: str) -> float:
    """A coordinate.

    Raises:
        ValueError: it is missing, no number, or so large that it is in no picture.
    """
    if value is None or isinstance(value, bool):
        raise ValueError(f"{what} is missing" if value is None else f"{what} is {value}, no number")
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        shown = value.strip() if isinstance(value, str) else value
        raise ValueError(f"{what} is {shown!r}, no number") from error
    if not abs(number) < _FARTHEST:
        raise ValueError(f"{what} is {str(value).strip()}, no place in an image")
    return number


def numbers_of(values: object, what: str, count: int | None = None) -> tuple[float, ...]:
    """Several coordinates.

    Raises:
        ValueError: they are no list of numbers, or not that many.
    """
    if not isinstance(values, list | tuple):
        raise ValueError(f"{what} is {values!r}, no list of numbers" if values is not None else f"{what} is missing")
    if count is not None and len(values) != count:
        raise ValueError(f"{what} has {len(values)} numbers, not {count}")
    return tuple(number_of(value, what) for value in values)


def box_of_extent(values: object, what: str = "bbox") -> FloatBox:
    """A box of left, top, width, height.

    Raises:
        ValueError: it is none.
    """
    left, top, width, height = numbers_of(values, what, 4)
    return left, top, left + width, top + height


def size_of(width: object, height: object) -> tuple[int, int] | None:
    """A written size; None when there is none (some tools write 0)."""
    try:
        sides = [float(value) for value in (width, height)]  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    if not all(math.isfinite(side) and 1 <= side < _FARTHEST for side in sides):
        return None
    return int(sides[0]), int(sides[1])


def records_of(value: object, place: str, found: Annotations) -> list[dict[str, Any]]:
    """The objects of a JSON list; what is not a list, or no object in it, is a defect."""
    if value is None:
        return []
    if not isinstance(value, list):
        found.defects.append(Defect(place, f"{str(value)[:40]!r} where a list of annotations should be"))
        return []
    if others := [each for each in value if not isinstance(each, dict)]:
        found.defects.append(Defect(place, f"{str(others[0])[:40]!r} where an annotation should be"))
    return [each for each in value if isinstance(each, dict)]


def is_yes(value: object) -> bool:
    """Whether a flag is set: 1, true, True, yes."""
    if isinstance(value, str):
        return value.strip().lower() in ("1", "1.0", "true", "yes", "y", "t")
    return bool(value)


def text_of(value: object) -> str:
    """A class name as text; "" when there is none."""
    return "" if value is None or isinstance(value, dict | list | bool) else str(value).strip()


def label_of(value: object) -> str:
    """A class name.

    Raises:
        ValueError: it is empty, or no text.
    """
    if not (label := text_of(value)):
        raise ValueError(
            "it has no name" if value in (None, "") or isinstance(value, str) else f"its name is {value!r}"
        )
    return label


def split_of(path: str) -> str | None:
    """The split that a file's name or the folders above it name: `instances_train2017.json`, `valid/a.jpg`.

    The name itself counts first, then the folders from the innermost.
    """
    for part in reversed(PurePosixPath(path).with_suffix("").parts):
        words = re.split(r"[^a-z]+", part.lower())
        if found := {SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS}:
            return found.pop() if len(found) == 1 else None
    return None


def split_of_folders(path: str) -> str | None:
    """The split that the folders above a file name."""
    for part in reversed(PurePosixPath(path).parent.parts):
        words = re.split(r"[^a-z]+", part.lower())
        if found := {SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS}:
            return found.pop() if len(found) == 1 else None
    return None


def picture_meant(tree: Tree, name: str, near: str, under: Sequence[str] = ("",)) -> str:
    """The picture that an annotation names.

    It is looked for beside the annotation, then in the folders given, by the end of its path; names from Label Studio
    may lack the eight letters that it puts before those of uploaded files.

    Args:
        tree: of the dataset.
        name: as written: a path of any machine, a URL, or the name alone.
        near: the annotation file.
        under: folders, in which the pictures are looked for in turn.

    Raises:
        ValueError: there is none, or several could be meant.
    """
    name = name.strip().replace("\\", "/")
    while name.startswith(("./", "../")):
        name = name.partition("/")[2]
    beside = f"{near.rpartition('/')[0]}/{name}".lstrip("/")
    if beside in tree:
        return beside
    if "://" in name or "?d=" in name:
        name = name.partition("?d=")[2] or name.partition("://")[2]
    missing: ValueError | None = None
    for folder in dict.fromkeys(under):
        for wanted in dict.fromkeys((name, unquote(name))):
            try:
                return tree.find(wanted.lstrip("/"), folder)
            except ValueError as error:
                missing = missing or error
    assert missing is not None, "there is a folder to look in"
    raise missing


def beginning(tree: Tree, name: str) -> str:
    """The first 64 KiB of a file as text, to recognise it by."""
    head = tree.head(name)
    for mark, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if head.startswith(mark):
            return head[2:].decode(encoding, "replace")
    return head.decode("utf-8-sig", "replace")


def has_keys(text: str, keys: Iterable[str]) -> bool:
    """Whether the beginning of a JSON file names all of these keys."""
    return all(re.search(rf'"{re.escape(key)}"\s*:', text) for key in keys)


def folders_of_split(tree: Tree, name: str) -> list[str]:
    """Folders in which the pictures of an annotation file should be, the likeliest first.

    `instances_val2017.json` speaks of those in `val2017/`; `val.json` of those in `images/val/`.
    """
    stem, split = PurePosixPath(name).stem, split_of(name)
    exact = [folder for folder in tree.folders if folder and stem.endswith(folder.rpartition("/")[2])]
    if split is None:
        return exact
    return exact + [folder for folder in tree.folders if folder and split_of(f"{folder}.") == split]


_MASK_FOLDERS = re.compile(r"segmentation\w*|masks?|\w+_masks|trimaps?|groundtruth|gt|labels?|overlays?", re.IGNORECASE)


def is_mask_folder(path: str) -> bool:
    """Whether a picture lies among masks or drawings rather than photos, by the folders above it."""
    return any(_MASK_FOLDERS.fullmatch(part) for part in PurePosixPath(path).parent.parts)


def stem_of(path: str) -> str:
    """A path without its suffix: pictures that share one are versions of each other (a mask, an overlay)."""
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{name.rpartition('.')[0] or name}"


def samples(tree: Tree, suffixes: frozenset[str]) -> list[str]:
    """A few files of a kind, the first of each folder, to recognise them by."""
    found: list[str] = []
    for folder in tree.folders.values():
        found += [folder.at(name) for name in folder.of_kind(suffixes)[:_FEW]]
        if len(found) >= _ENOUGH:
            break
    return found[:_ENOUGH]


_FEW, _ENOUGH = 3, 40
