"""Reading YAML: what it means, and that damage is named at its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweep_runner.errors import RequestError
from sweep_runner.spec.document import MAX_BYTES, parse, read_file
from sweep_runner.spec.loader import load_spec


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1.0e-3", 1e-3),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("012", 12),
        ("0x1F", 31),
        ("0o17", 15),
        ("-7", -7),
        ("true", True),
        ("False", False),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("~", None),
        ("null", None),
        ("", None),
        ("'12'", "12"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
    ],
)
def test_scalars_are_read_as_yaml_1_2(text: str, value: object) -> None:
    read = parse(f"key: {text}", "f").value["key"]
    assert read == value
    assert type(read) is type(value)


def test_lines_of_keys_and_items_are_known() -> None:
    lines = parse("a: 1\nb:\n  c: [1,\n   2]\n", "f").lines
    assert lines[("a",)] == 1
    assert lines[("b", "c")] == 3
    assert lines[("b", "c", 1)] == 4


def test_keys_are_text_whatever_they_look_like() -> None:
    assert parse("3: a\ntrue: b\nno: c", "f").value == {"3": "a", "true": "b", "no": "c"}


def test_aliases_and_merge_keys_work() -> None:
    value = parse("base: &b {x: 1, y: 2}\nother: {<<: *b, y: 3}\nmore: {<<: [*b, {z: 4}]}", "f").value
    assert value["other"] == {"y": 3, "x": 1}
    assert value["more"] == {"x": 1, "y": 2, "z": 4}


BILLION = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {}\n" + "".join(
    f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 9)}]}}\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "f:3", "'a' is duplicate, first in line 1"),
        ("a: 1\nb: {c: 1, c: 2}\n", "f:2", "'c' is duplicate"),
        (
            "a: !!python/object/apply:os.system [ls]\n",
            "f:1",
            "the tag '!!python/object/apply:os.system' is not allowed",
        ),
        ("a: 1\nb: !secret x\n", "f:2", "the tag '!secret' is not allowed"),
        ("a: !!str 5\n", "f:1", "the tag '!!str' is not allowed"),
        ("a:\n\tb: 1\n", "f:2", "a tab: YAML is indented with spaces"),
        ("a: [1, 2\nb: 3\n", "f:2", "not valid YAML"),
        ("a: 'text\n", "f:", "not valid YAML"),
        ("a: b: c\n", "f:1", "not valid YAML"),
        ("a: 1\n---\nb: 2\n", "f:2", "a second document"),
        ("a: 1\nb: *nowhere\n", "f:2", "undefined alias"),
        ("a: &x [*x]\n", "f:1", "an alias to something that it is itself a part of"),
        ("a: &x {<<: *x}\n", "f:1", "merged (<<) into itself"),
        ("<<: 5\n", "f:1", "<< merges a mapping"),
        ("a: " + "[" * 5000, "f:1", "nested deeper than"),
        (BILLION, "f:", "holds more than 20000 values"),
        (MERGES, "f:", "holds more than 20000 values"),
        ("? [1]\n: 2\n", "f:1", "keys are plain text"),
        ("a: 1\nb: x\x00y\n", "f:2", "the character 0x0000 is not allowed"),
        ('a: "\\ud800"\n', "f:1", "that is not a character"),
        ('a: 1\nb: "\\U00110000"\n', "f:2", "that is not a character"),
        ("a: .nan\n", "f:1", "is not a usable number"),
        ("a: 1e999\n", "f:1", "is not a usable number"),
        ("a: " + "9" * 5000, "f:1", "beyond 64 bits"),
        ("%YAML 2.0\n---\na: 1\n", "f:1", "not valid YAML"),
    ],
)
def test_bad_yaml_is_named_at_its_line(text: str, place: str, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse(text, "f")
    assert message in str(caught.value)
    assert str(caught.value).startswith(place)


def test_several_problems_are_told_at_once() -> None:
    with pytest.raises(RequestError) as caught:
        parse("a: !!int 1\na: 2\nb: .nan\n", "f")
    assert [problem.where for problem in caught.value.problems] == ["f:1", "f:2", "f:3"]


def test_no_tag_runs_code(tmp_path: Path) -> None:
    target = tmp_path / "ran"
    with pytest.raises(RequestError):
        parse(f"a: !!python/object/apply:pathlib.Path.touch [!!python/object:pathlib.Path {target}]", "f")
    assert not target.exists()


@pytest.mark.parametrize(
    ("content", "place", "message"),
    [
        (b"", "", "is empty"),
        (b"# only a comment\n", "", "is empty"),
        (b"- a\n- b\n", ":1", "contains a list"),
        (b"just text\n", ":1", "contains a single value"),
        (b"name: caf\xe9\n", ":1", "byte 0xe9 is not UTF-8"),
        (b"name: x\nfixed: \xff\n", ":2", "byte 0xff is not UTF-8"),
        ("name: x\n".encode("utf-16"), ":1", "is not UTF-8"),
        (b"name: x\x00\n", ":1", "0x0000 is not allowed"),
        (b"a: " + b"x" * MAX_BYTES, "", "is longer than 256 KiB"),
    ],
)
def test_files_that_are_no_sweep_file(tmp_path: Path, content: bytes, place: str, message: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(content)
    with pytest.raises(RequestError) as caught:
        load_spec(path)
    assert str(caught.value).startswith(f"{path}{place}: ")
    assert message in str(caught.value)


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("name: x\n", encoding="utf-8-sig")
    assert load_spec(path).spec.name == "x"


def test_a_missing_file_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "voc.yaml").write_text("name: x")
    with pytest.raises(RequestError, match=r"(?s)vok\.yaml: no such file.*Did you mean .*voc\.yaml\?"):
        read_file(tmp_path / "vok.yaml")


def test_a_folder_is_no_sweep_file(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="is a folder"):
        read_file(tmp_path)


def test_a_name_with_a_null_byte_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="cannot be read"):
        read_file(tmp_path / "a\0b")
