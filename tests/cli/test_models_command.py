"""`sweep models`: which models there are, and what is known of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sweep_runner.cli.main import main
from tests.support.cli import Refused
from trainables.image.models.catalogue import limits
from trainables.image.models.survey import survey


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[list[dict[str, Any]], str]:
    assert main(["models", *arguments, "--json"]) == 0
    printed = capsys.readouterr()
    return json.loads(printed.out), printed.err


def test_a_part_of_a_name_or_a_pattern_finds_models(capsys: pytest.CaptureFixture[str]) -> None:
    names = [entry["name"] for entry in listed(capsys, "mobilenetv3_small")[0]]
    assert {"mobilenetv3_small_050", "mobilenetv3_small_100", "tf_mobilenetv3_small_100"} <= set(names)
    assert [entry["name"] for entry in listed(capsys, "mobilenetv3_small_05?")[0]] == ["mobilenetv3_small_050"]
    # torchvision's names, and our own nets.
    assert "tf_efficientnetv2_s" in [entry["name"] for entry in listed(capsys, "efficientnet_v2_s")[0]]
    (own,) = listed(capsys, "cnn5_avg")[0]
    assert (own["family"], own["weights"], own["smallest_resolution"]) == ("own", "none", 32)


def test_models_that_fit_are_listed_and_unknown_ones_counted(capsys: pytest.CaptureFixture[str]) -> None:
    fitting, said = listed(capsys, "mobilenetv3_small*", "--fits", "2M params")
    assert [entry["name"] for entry in fitting] == ["mobilenetv3_small_050"]
    everything, said = listed(capsys, "mobilenetv3*", "--fits", "1 ms")
    assert everything == []
    assert "was not measured" in said


def test_the_table_on_a_terminal_says_what_works(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "resnet18"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split("\t")[:4] == ["model", "parameters", "px", "from px"]
    (row,) = [row.split("\t") for row in rows if row.startswith("resnet18\t")]
    assert row[1:4] == ["11.7M", "224", "8"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5M params", {"parameters": 5e6}),
        ("20 ms", {"image_ms": 20.0}),
        ("5M params, 20 ms", {"parameters": 5e6, "image_ms": 20.0}),
        ("1.5b parameters,7.5ms", {"parameters": 1.5e9, "image_ms": 7.5}),
    ],
)
def test_limits(text: str, expected: dict[str, float]) -> None:
    assert limits(text) == pytest.approx(expected)


def test_models_without_onnx_are_listed_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    mixed = listed(capsys, "efficientnet_cc")[0]
    assert len(mixed) > 3
    assert not any(entry["onnx"] for entry in mixed)
    # Nobody tried this one; all of its family that were tried have a translation.
    assert survey()["resnet200"]["onnx"] == ""
    (entry,) = listed(capsys, "resnet20[0]")[0]
    assert entry["onnx"] is True


def test_parameters_of_all_models_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    everything, _ = listed(capsys)
    assert len(everything) > 1300
    uncounted = [entry["name"] for entry in everything if entry["parameters"] is None]
    assert all(name.endswith("_enc") for name in uncounted), "these are encoders, without a classifier"
    fitting, said = listed(capsys, "--fits", "2M params")
    assert 20 < len(fitting) < 200
    assert f"{len(uncounted)} of {len(everything)} models are left out" in said


def test_what_is_no_limit_or_no_model_is_refused(refused: Refused) -> None:
    assert "5 apples" in refused("models", "--fits", "5 apples")
    assert "20 ms" in refused("models", "--fits", "0 ms")
    assert "no model matches" in refused("models", "qqqq")
    assert "Did you mean mobilenet" in refused("models", "mobilnetv2*")
