"""A process whose user has no home folder, as `docker run --user 12345` starts one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trainables.home import provide_home


def test_a_home_that_can_be_written_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert provide_home({"HOME": str(tmp_path)}, (tmp_path / "elsewhere",)) == ""


@pytest.mark.parametrize("home", ["/proc/nohome", None])
def test_without_a_home_one_is_made_that_is_this_users_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str | None
) -> None:
    monkeypatch.delenv("HOME", raising=False)
    if home is not None:
        monkeypatch.setenv("HOME", home)
    else:
        monkeypatch.setattr(Path, "home", staticmethod(_nobody))
    said = provide_home(os.environ, (tmp_path,))
    made = tmp_path / f"sweep-runner-{os.getuid()}"
    assert os.environ["HOME"] == str(made)
    assert str(made) in said
    assert made.stat().st_mode & 0o777 == 0o700


def _nobody() -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_a_home_that_cannot_be_written_gets_folders_for_caches_and_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HOME=/ is what containers give a user that they do not know."""
    monkeypatch.setenv("HOME", "/")
    monkeypatch.setattr(os, "access", lambda path, mode: str(path).startswith(str(tmp_path)))
    environment = {"HOME": "/", "XDG_CONFIG_HOME": "/given"}
    assert "nothing can be written into the home folder /" in provide_home(environment, (tmp_path,))
    assert environment["XDG_CACHE_HOME"].startswith(str(tmp_path))
    assert (environment["HOME"], environment["XDG_CONFIG_HOME"]) == ("/", "/given")


def test_a_folder_that_others_can_write_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/proc/nohome")
    taken = tmp_path / f"sweep-runner-{os.getuid()}"
    taken.mkdir()
    taken.chmod(0o777)
    with pytest.raises(PermissionError, match="set HOME to a folder of yours"):
        provide_home({"HOME": "/proc/nohome"}, (tmp_path,))
