"""The JSON Schema accepts what the loader accepts, and refuses what an editor should underline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sweep_runner.spec.document import parse
from sweep_runner.spec.schema import sweep_schema

SWEEPS = Path(__file__).parents[2] / "sweeps"


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = sweep_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def complaints(validator: jsonschema.Draft202012Validator, text: str) -> list[str]:
    return [error.message for error in validator.iter_errors(parse(text, "f").value)]


@pytest.mark.parametrize(
    "text",
    [
        "name: x",
        "name: x\nspace:\n  lr: {low: 1e-4, high: 1, log: true}\n  model: [a, b]\n  momentum: 0.9\n",
        "name: x\nspace: {momentum: {values: [0.9], when: {optimizer: sgd}}}",
        "name: x\nspace: {momentum: {low: 0, high: 0.9, when: {optimizer: [sgd, adam]}}}",
        "name: x\nspace: {mixed_precision: [no, bf16], pretrained: [true, w.pth]}",
        "name: x\npruner: median",
        "name: x\npruner: {kind: patient, patience: 1, inner: {kind: median}}",
        "name: x\nsearch: {sampler: tpe, options: {group: true}}",
        "name: x\nsearch: {sampler: qmc, options: {sequence: halton}}",
        "name: x\ntrainable: synthetic\nfixed: {epoch_s: 0.5}",
        "name: x\ntrainable: mine:Own\nfixed: {whatever: 1}\nspace: {other: [1]}\ndata: {a: b}",
        "name: x\nbaselines: {b: {lr: 0.1}}",
        "name: x\ndata:\nspace:\nsearch:\npruner:\n",
    ],
)
def test_good_files_pass(validator: jsonschema.Draft202012Validator, text: str) -> None:
    assert complaints(validator, text) == []


@pytest.mark.parametrize(
    "text",
    [
        "space: {}",
        "name: x\ntrainabel: synthetic",
        "name: x\ntrainable: synthetik",
        "name: x\nfixed: {epoch: 3}",
        "name: x\nspace: {epoch: [3]}",
        "name: x\nspace: {lr: {low: 1}}",
        "name: x\nspace: {lr: {low: 1, high: 2, steps: 1}}",
        "name: x\nspace: {pooling: [avg, maxx]}",
        "name: x\ndata: {datset: voc}",
        "name: x\nbaselines: {b: {lrr: 0.1}}",
        "name: x\npruner: medain",
        "name: x\npruner: {kind: median, patience: 1}",
        "name: x\nsearch: {sampler: qmc, options: {group: true}}",
        "name: x\nsearch: {trials: many}",
        "name: x\nobjective: {metric: val_acc}",
        "name: x\ntrainable: synthetic\nfixed: {model: mlp6}",
    ],
)
def test_bad_files_are_underlined(validator: jsonschema.Draft202012Validator, text: str) -> None:
    assert complaints(validator, text)


def test_every_key_is_described(validator: jsonschema.Draft202012Validator) -> None:
    schema: dict[str, Any] = dict(validator.schema)
    image = schema["allOf"][0]["then"]["properties"]
    for section in ("fixed", "space", "data"):
        undescribed = [key for key, value in image[section]["properties"].items() if not value.get("description")]
        assert undescribed == []
    assert [key for key, value in schema["properties"].items() if not value.get("description")] == []


def test_the_shipped_schema_is_the_one_that_the_command_prints() -> None:
    shipped = json.loads((SWEEPS / "sweep.schema.json").read_text(encoding="utf-8"))
    assert shipped == sweep_schema(), "write it again: sweep schema --output sweeps/sweep.schema.json"
