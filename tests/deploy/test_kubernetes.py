"""The manifests for Kubernetes, held against its schema and against KubeRay's keys."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.support.documents import ROOT, parse_command

FOLDER = ROOT / "deploy" / "kubernetes"
FILES = sorted(FOLDER.glob("*.yaml"))
KUBERAY = json.loads((Path(__file__).parent / "kuberay_schema.json").read_text())
KUBERNETES = "1.31"


def documents(file: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(file.read_text(encoding="utf-8")))


def clusters() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in FILES:
        for document in documents(file):
            if document["kind"] == "RayCluster":
                yield file.name, document["spec"]
            elif document["kind"] == "RayJob":
                yield file.name, document["spec"]["rayClusterSpec"]


def templates(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    return [group["template"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def validate(document: dict[str, Any]) -> None:
    """As `kubectl apply` would, without a server."""
    if document["apiVersion"] != "ray.io/v1":
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
        return
    jsonschema.validate(document, KUBERAY)
    spec = document["spec"]
    for template in templates(spec["rayClusterSpec"] if document["kind"] == "RayJob" else spec):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": template.get("metadata", {}), "spec": template["spec"]}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_all_kinds_are_there() -> None:
    kinds = {document["kind"] for file in FILES for document in documents(file)}
    assert kinds == {"RayCluster", "RayJob", "PersistentVolumeClaim", "NetworkPolicy"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_manifest_is_valid(file: Path) -> None:
    for document in documents(file):
        validate(document)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda spec: spec.update(headGroupSpecs={}),
        lambda spec: spec["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0}),
        lambda spec: spec["workerGroupSpecs"][0]["template"]["spec"].update(volumeMounts=[]),
        lambda spec: spec["headGroupSpec"]["template"]["spec"]["containers"][0].update(image=["sweep"]),
    ],
    ids=["an unknown key", "a number for a word", "an unknown key of a pod", "a list for a word"],
)
def test_one_that_is_not_would_be_found(wrong: Any) -> None:
    (document,) = documents(FOLDER / "raycluster.yaml")
    document = json.loads(json.dumps(document))  # what is anchored stands alone
    wrong(document["spec"])
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
        validate(document)


@pytest.mark.parametrize(
    ("file", "cluster"), list(clusters()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_cluster_is_one_for_sweeps(file: str, cluster: dict[str, Any]) -> None:
    pinned = re.search(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert cluster["rayVersion"] == pinned[1]
    assert cluster["authOptions"]["mode"] == "token"
    claims = {document["metadata"]["name"] for document in documents(FOLDER / "storage.yaml")}
    (policy,) = documents(FOLDER / "network-policy.yaml")
    for template in templates(cluster):
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        assert volumes["shared"]["persistentVolumeClaim"]["claimName"] in claims
        (container,) = template["spec"]["containers"]
        assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
        health = {env["name"]: env["value"] for env in container["env"] if "health_check" in env["name"]}
        assert len(health) == 3
        assert container["resources"]["requests"] == container["resources"]["limits"]


def test_the_job_runs_a_command_that_exists_on_a_file_that_is_in_the_image() -> None:
    (job,) = documents(FOLDER / "rayjob.yaml")
    script, file, results, *options = job["spec"]["entrypoint"].split()
    assert (ROOT / "deploy" / script).is_file()
    assert (ROOT / Path(file).relative_to("/app")).is_file()
    assert results == job["spec"]["metadata"]["results"]
    parse_command(" ".join(["sweep run", file, "--results", results, *options]), complete=True)
