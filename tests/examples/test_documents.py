"""The pages say what is: their code is the examples', their commands exist, their sweep files are valid."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import click
import pytest
from PIL import Image

from sweep_runner.cli.main import COMMANDS
from sweep_runner.spec.check import check_spec
from sweep_runner.spec.document import parse
from sweep_runner.spec.loader import load_spec
from tests.support.documents import (
    PAGES,
    ROOT,
    Block,
    all_commands,
    blocks,
    commands,
    examples_in_help,
    links,
    parse_command,
)
from trainables.image.datasets import BUILT_IN as DATASETS
from trainables.loading import BUILT_IN as TRAINABLES

README = (ROOT / "README.md").read_text(encoding="utf-8")
FILES = {block.file for block in blocks("python", "yaml") if block.file}
SNIPPETS = [block for block in blocks("yaml") if not block.file]
COMMANDS_SHOWN = commands()


def test_there_is_something_to_test() -> None:
    assert {"examples/own_trainable.py", "examples/own_dataset.py", "sweeps/quickstart.yaml"} <= FILES
    assert len(COMMANDS_SHOWN) > 30
    assert SNIPPETS


@pytest.mark.parametrize("file", sorted(FILES))
def test_the_blocks_that_name_a_file_are_that_file(file: str) -> None:
    shown: dict[Path, str] = {}
    for block in blocks("python", "yaml"):
        if block.file == file:
            shown[block.page] = shown.get(block.page, "") + block.text
    text = (ROOT / file).read_text(encoding="utf-8")
    for page, joined in shown.items():
        assert _without_blank_lines(joined) == _without_blank_lines(text), f"{page.name} shows another {file}"


def _without_blank_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("block", [block for block in blocks("python") if not block.file], ids=str)
def test_other_python_is_at_least_python(block: Block) -> None:
    ast.parse(block.text)


@pytest.mark.parametrize("block", SNIPPETS, ids=str)
def test_a_part_of_a_sweep_file_is_valid_in_one(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for picture in ("photos/cat/1.png", "photos/dog/1.png", "data/cat/1.png", "data/dog/1.png"):
        file = tmp_path / "home" / picture  # the pages speak of ~/photos and ~/data
        file.parent.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(file)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    values: dict[str, Any] = parse(block.text, str(block)).value
    path = tmp_path / "sweep.yaml"
    path.write_text(("" if "name" in values else "name: snippet\n") + block.text, encoding="utf-8")
    check_spec(load_spec(path))


@pytest.mark.parametrize("file", sorted(ROOT.glob("examples/*.yaml")), ids=lambda path: path.name)
def test_an_example_sweep_is_valid(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert check_spec(load_spec(file)).warnings == ()
    assert "?" in file.read_text(encoding="utf-8").partition("name:")[0], "its comment says which question it answers"


@pytest.mark.parametrize(("where", "line", "complete"), COMMANDS_SHOWN, ids=[f"{w} {c}" for w, c, _ in COMMANDS_SHOWN])
def test_a_command_that_is_shown_exists(where: str, line: str, complete: bool) -> None:
    parse_command(line, complete=complete)


HELP_EXAMPLES = [
    (f"{name} --help", line, True) for name, command in all_commands() for line in examples_in_help(command)
]
REFUSED = "sweep check examples/own_trainable.yaml --set 'space.momentum=[0, 0.9]'"  # shown with its error


@pytest.mark.parametrize(
    ("where", "line", "complete"),
    [shown for shown in (*COMMANDS_SHOWN, *HELP_EXAMPLES) if ".yaml" in shown[1] and shown[1] != REFUSED],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_command_on_a_shipped_file_is_one_that_works(
    where: str, line: str, complete: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "<weights>" in line or "$" in line:
        pytest.skip("what stands for a file or a variable of the reader's cannot be checked")
    monkeypatch.chdir(ROOT)
    parameters = parse_command(line, complete=complete)
    file = parameters.get("file")
    if file is not None and (ROOT / file).is_file():
        check_spec(load_spec(file, parameters["overrides"]))


@pytest.mark.parametrize("line", ["sweep rum FILE", "sweep run FILE --fersh", "sweep extend x", "sweep show x 1 2 3"])
def test_what_does_not_exist_would_be_noticed(line: str) -> None:
    with pytest.raises(click.UsageError):
        parse_command(line, complete=True)


@pytest.mark.parametrize(
    ("name", "command"), list(all_commands()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_the_help_of_every_command_has_an_example_that_works(name: str, command: click.Command) -> None:
    examples = examples_in_help(command)
    assert any(line.startswith(name) for line in examples), f"{name} --help gives no example"
    for line in examples:
        parse_command(line, complete=True)


def test_the_readme_lists_every_command() -> None:
    listed = set(re.findall(r"^\| `sweep (\w+)", README, flags=re.MULTILINE))
    assert listed == set(COMMANDS), "the table under Commands has a row for each command, and no other"


def test_what_is_built_in_is_named() -> None:
    layouts = (ROOT / "docs" / "layouts.md").read_text(encoding="utf-8")
    assert [name for name in DATASETS if f"`{name}`" not in layouts] == []
    assert [name for name in TRAINABLES if f"`{name}`" not in README] == []


@pytest.mark.parametrize(
    ("page", "target"), list(links()), ids=lambda value: value if isinstance(value, str) else value.name
)
def test_a_link_leads_somewhere(page: Path, target: str) -> None:
    path, _, anchor = target.partition("#")
    file = page.parent / path if path else page
    assert file.exists()
    if anchor:
        headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_holds_nothing_of_the_machine_that_it_was_written_on(page: Path) -> None:
    assert not re.search(r"/(home|root|Users)/|site-packages", page.read_text(encoding="utf-8"))


def test_the_rooms_of_the_image_classifier_are_named_for_contributors() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rooms = [folder.parent.name for folder in (ROOT / "trainables" / "image").glob("*/__init__.py")]
    assert [room for room in sorted(rooms) if f"`{room}/`" not in text] == []
