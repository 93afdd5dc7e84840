"""Before the first trial: is every node fit for the sweep? Storage, versions, code, data and room are looked at."""

from __future__ import annotations

import dataclasses
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweep_runner.errors import Problem, RequestError
from sweep_runner.execution.cluster import facts
from sweep_runner.execution.resources.slots import Node, resolve
from sweep_runner.results.paths import SweepPaths
from sweep_runner.spec.plan import Plan
from trainables.loading import BUILT_IN
from trainables.own_modules import folders_of_own_modules
from trainables.quantities import size_text

PACKAGES = ("ray", "torch", "torchvision", "timm", "accelerate", "numpy", "pyarrow", "sweep-runner")
"""What trials compute with: other versions may give other numbers, or cannot read what the driver sent."""

_PATIENCE_S = 60.0
_INSTALL_PATIENCE_S = 600.0
_SHARED_PATIENCE_S = 5.0
"""Network file systems show a new file to other machines with a delay."""


@dataclass(frozen=True)
class NodeReport:
    """What was found on a node.

    Attributes:
        id: Ray's name of it.
        name: the machine's.
        address: in the cluster's network.
        cpus, gpus: that Ray may give to trials.
        free_memory_bytes, free_disk_bytes: now; None when it did not say.
        differs: what has another version than here, in words; empty when nothing has.
        problems: why no trial can run there.
    """

    id: str
    name: str
    address: str
    cpus: float
    gpus: float
    free_memory_bytes: int | None = None
    free_disk_bytes: int | None = None
    differs: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def label(self) -> str:
        """How a message names the node."""
        return self.address if self.name in ("", self.address) else f"{self.address} ({self.name})"


class Preflight:
    """Looks at nodes: at all of them before the first trial, and at those that come later.

    Args:
        plan: the sweep, prepared.
        paths: of its folder.
    """

    def __init__(self, plan: Plan, paths: SweepPaths) -> None:
        self._plan = plan
        self._paths = paths
        self._module = BUILT_IN.get(plan.spec.trainable, plan.spec.trainable).partition(":")[0]
        env = plan.spec.cluster.env
        self._patience_s = _INSTALL_PATIENCE_S if env.pip else _PATIENCE_S

    def look_over(self, only: Sequence[str] | None = None) -> list[NodeReport]:
        """Looks at the nodes that are alive, all at the same time.

        Args:
            only: the ids of those to look at; None: all.
        """
        import ray

        nodes = [node for node in ray.nodes() if node["Alive"] and (only is None or node["NodeID"] in only)]
        folder = self._paths.preflight
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            marker = secrets.token_hex(16)
            (folder / "driver").write_text(marker)
            request = self._request(folder, marker)
            here = facts.look({**request, "mine": "here"})
            answers = _ask(nodes, request, self._patience_s)
            reports = [self._report(node, answers[node["NodeID"]], here, folder, marker) for node in nodes]
            return sorted(reports, key=lambda report: (report.name, report.address))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def refuse(self, reports: Sequence[NodeReport], nodes: Sequence[Node]) -> None:
        """Raises what is wrong with the nodes, and whether they have room for a trial.

        Raises:
            RequestError: with every problem of every node.
        """
        problems = [problem for report in reports for problem in report.problems]
        try:
            resolve(self._plan.spec.resources, nodes, self._plan.workers)
        except RequestError as error:
            problems += error.problems
        if problems:
            raise RequestError(problems)

    def _request(self, folder: Path, marker: str) -> dict[str, Any]:
        return {
            "packages": PACKAGES,
            "modules": ["sweep_runner", "trainables", *([] if self._is_built_in else [self._module])],
            "import_paths": list(folders_of_own_modules(self._plan.spec.trainable, self._plan.spec.data)),
            "folder": str(folder),
            "marker": marker,
            "remote": self._remote(),
            "trainable": self._plan.spec.trainable,
            "data": dict(self._plan.spec.data),
            "data_folder": str(self._paths.data),
        }

    def _remote(self) -> dict[str, str] | None:
        """Where the results are, if not in a folder: then nodes need share none, and each must reach the storage."""
        if not self._paths.is_copy:
            return None
        from sweep_runner.results.remote.address import address_of

        address = address_of(self._paths.root.parent)
        assert address is not None
        return dataclasses.asdict(address)

    @property
    def _is_built_in(self) -> bool:
        return self._module.partition(".")[0] == "trainables"

    def _report(
        self, node: Mapping[str, Any], answer: dict[str, Any] | str, here: dict[str, Any], folder: Path, marker: str
    ) -> NodeReport:
        resources = node["Resources"]
        report = NodeReport(
            id=node["NodeID"],
            name=node["NodeManagerHostname"],
            address=node["NodeManagerAddress"],
            cpus=resources.get("CPU", 0.0),
            gpus=resources.get("GPU", 0.0),
        )
        if isinstance(answer, str):
            hint = "`ray status` and the logs on that node (/tmp/ray/session_latest/logs) have details."
            message = f"cannot run tasks: {answer}"
            return dataclasses.replace(report, problems=(Problem(message, where=f"node {report.label}", hint=hint),))
        differs = tuple(_different_versions(answer, here))
        found = [*self._storage(answer, folder / node["NodeID"], marker), *self._code(answer, here, differs)]
        # What was prepared comes to a node that shares no folder with its first trial: there is nothing to look at yet.
        if not answer["storage_error"] and not self._paths.is_copy:
            found += self._data(answer, here)
        problems = tuple(Problem(message, where=f"node {report.label}", hint=hint) for message, hint in found)
        return dataclasses.replace(
            report,
            free_memory_bytes=answer["free_memory_bytes"],
            free_disk_bytes=answer["free_disk_bytes"],
            differs=differs,
            problems=problems,
        )

    def _storage(self, answer: dict[str, Any], theirs: Path, marker: str) -> Iterator[tuple[str, str]]:
        root = self._paths.root
        if self._paths.is_copy and answer["storage_error"]:
            yield (
                f"the results cannot be written from there: {answer['storage_error']}",
                "Every node needs its own credentials (docs/remote-results.md): variables can be sent with the "
                "sweep, in cluster.env.env_vars.",
            )
            return
        hint = (
            "Every node must see the same results folder under the same path (NFS, a parallel file system, …): mount "
            "it there, or choose a shared one with --results DIR."
        )
        if answer["storage_error"]:
            yield f"{root} is not shared: this machine's marker is not there ({answer['storage_error']})", hint
            return
        if answer["read"] != marker:
            yield f"{root} is not shared: a different marker is there", hint
        elif not self._paths.is_copy and not _appears(theirs, marker):
            yield f"{root} is not shared: what the node wrote does not appear here", hint
        wanted = self._plan.spec.resources.min_free_disk
        where = "its cache folder" if self._paths.is_copy else root
        if answer["free_disk_bytes"] < wanted:
            yield (
                f"{size_text(answer['free_disk_bytes'])} free in {where}, less than resources.min_free_disk "
                f"({size_text(wanted)})",
                "Free disk space there, or lower the limit: --set resources.min_free_disk=SIZE",
            )

    def _code(self, answer: dict[str, Any], here: dict[str, Any], differs: Sequence[str]) -> Iterator[tuple[str, str]]:
        if differs:
            yield (
                f"versions differ from this machine's: {', '.join(differs)}",
                "Trials of one sweep must be comparable: install the same on every machine "
                "(pip install -c constraints.txt).",
            )
        for module, digest in answer["digests"].items():
            if digest == here["digests"][module]:
                continue
            if digest.startswith("missing"):
                hint = "Install the same version of the sweep runner there."
                if module == self._module:
                    hint = "Send it with the sweep: cluster: {env: {py_modules: [FILE.py or FOLDER]}}"
                    if digest == "missing":
                        yield f"no module {module}, the trainable's", hint
                        continue
                yield f"{module} cannot be imported there: {digest}", hint
            elif not (module in ("sweep_runner", "trainables") and any("sweep-runner" in text for text in differs)):
                what = "the trainable's module" if module == self._module else "the sweep runner's code"
                yield (
                    f"{what} differs from this machine's: {module} {digest}, here {here['digests'][module]}",
                    "Update it there, or send it with the sweep (cluster.env.py_modules).",
                )

    def _data(self, answer: dict[str, Any], here: dict[str, Any]) -> Iterator[tuple[str, str]]:
        hint = "Every node must see the same data under the same path."
        if answer["data_error"]:
            if not any(digest.startswith("missing") for digest in answer["digests"].values()):
                yield f"the data cannot be used there: {answer['data_error']}", hint
        elif answer["data"] != here["data"]:
            differs = f"{answer['data'] or 'none'}, here {here['data'] or 'none'}"
            yield f"the data differs from this machine's: {differs}", hint


def _ask(nodes: Sequence[Mapping[str, Any]], request: dict[str, Any], patience_s: float) -> dict[str, Any]:
    """What each node answers, by its id: a dictionary, or in words why there is no answer."""
    import ray
    from ray import cloudpickle
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    cloudpickle.register_pickle_by_value(facts)
    remote = ray.remote(num_cpus=0, max_retries=0)(facts.look)
    asked = {}
    for node in nodes:
        place = NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=False)
        named = remote.options(name="sweep preflight", scheduling_strategy=place)
        asked[named.remote({**request, "mine": node["NodeID"]})] = node["NodeID"]
    ready, late = ray.wait(list(asked), num_returns=len(asked), timeout=patience_s)
    answers: dict[str, Any] = {}
    for promise in ready:
        try:
            answers[asked[promise]] = ray.get(promise)
        except ray.exceptions.RayError as error:
            answers[asked[promise]] = _words(error)
    for promise in late:
        ray.cancel(promise, force=True)
        answers[asked[promise]] = f"no answer for {patience_s:g} s"
    return answers


def _words(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _different_versions(answer: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[str]:
    # The last part of Python's version is not asked to agree: Ray looks at it where that matters.
    if _minor(answer["python"]) != _minor(here["python"]):
        yield f"python {answer['python']} (here {here['python']})"
    for package, version in here["versions"].items():
        theirs = answer["versions"].get(package)
        if _public(theirs) != _public(version):
            yield f"{package} {theirs or 'missing'} (here {version or 'missing'})"


def _minor(python: str) -> str:
    return python.rpartition(".")[0]


def _public(version: str | None) -> str | None:
    """Without what stands for the build: torch 2.15.0+cpu and 2.15.0+cu130 are one version."""
    return version and version.partition("+")[0]


def _appears(path: Path, text: str) -> bool:
    deadline = time.monotonic() + _SHARED_PATIENCE_S
    while True:
        if path.is_file() and path.read_text() == text:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
