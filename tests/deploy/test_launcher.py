"""The files for Ray's cluster launcher, held against Ray's own schema."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.documents import ROOT

FILES = sorted((ROOT / "deploy" / "launcher").glob("*.yaml"))


def load(file: Path) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return config


def resolved(config: dict[str, Any]) -> dict[str, Any]:
    """As `ray up` makes it of a file, with Ray's own defaults and checks."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    made: dict[str, Any] = prepare_config(copy.deepcopy(config))
    validate_config(made)
    return made


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_ray_takes_the_file(file: Path) -> None:
    config = load(file)
    made = resolved(config)
    assert made["cluster_name"] == "sweep-runner"
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        assert "/deploy/ray-node.sh" in made[key][-1], "Ray's own commands would start it without a token"
    assert any(target.endswith("ray-token") for target in made["file_mounts"])
    assert any("--constraint constraints.txt" in command for command in made["setup_commands"])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_wrong_file_would_be_found(file: Path) -> None:
    import jsonschema

    with pytest.raises(jsonschema.ValidationError):
        resolved({**load(file), "worker_count": 3})


def test_aws_lets_in_nothing_but_ssh_and_starts_as_many_as_it_says() -> None:
    config = load(ROOT / "deploy" / "launcher" / "aws.yaml")
    rules = config["provider"]["security_group"]["IpPermissions"]
    assert [(rule["FromPort"], rule["ToPort"]) for rule in rules] == [(22, 22)]
    assert "0.0.0.0/0" not in str(rules)
    worker = config["available_node_types"]["worker"]
    assert worker["min_workers"] == worker["max_workers"] == config["max_workers"]
