"""A trainable's name → its class, and which half of a wrong name is wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainables.loading import NoSuchTrainable, load_trainable
from trainables.synthetic import Synthetic

GOOD = """
from pydantic import BaseModel
from trainables.contract import Trainable

class Config(BaseModel):
    epochs: int = 1

class Good(Trainable):
    config_class = Config
    def train(self, config, handle):
        pass

class Unfinished(Trainable):
    config_class = Config

class WithoutConfig(Trainable):
    def train(self, config, handle):
        pass

class Namespace:
    Inner = Good

class NoTrainable:
    pass
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "loading_good.py").write_text(GOOD)
    (tmp_path / "loading_raises.py").write_text("x = 1\nraise ValueError('not today')\n")
    (tmp_path / "loading_exits.py").write_text("import sys\nsys.exit(3)\n")
    (tmp_path / "loading_syntax.py").write_text("x = (\n")
    (tmp_path / "loading_needs.py").write_text("import a_package_that_is_not_there\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in [name for name in sys.modules if name.startswith("loading_")]:
        del sys.modules[name]


def test_a_file_of_the_user_takes_no_installed_modules_place(tmp_path: Path) -> None:
    """Whatever else lies in the current directory: it is looked into last, and only for a module of one's own."""
    for name in ("queue", "random", "ray", "torch", "yaml"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a file of the user is executed')\n")
    (tmp_path / "built_in.yaml").write_text("name: a\ntrainable: synthetic\nspace: {lr: [0.1, 0.2]}\n")
    (tmp_path / "own.yaml").write_text("name: b\ntrainable: loading_good:Good\nspace: {epochs: [1, 2]}\n")
    for file in ("built_in.yaml", "own.yaml"):
        command = [sys.executable, "-m", "sweep_runner", "check", file]
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
    load_trainable("synthetic")
    assert str(tmp_path) not in sys.path
    load_trainable("loading_good:Good")
    assert sys.path[-1] == str(tmp_path)


def test_built_in_names_and_own_ones() -> None:
    assert load_trainable("synthetic") is Synthetic
    assert load_trainable("trainables.synthetic:Synthetic") is Synthetic
    assert load_trainable("loading_good:Good").__name__ == "Good"
    assert load_trainable("loading_good:Namespace.Inner").__name__ == "Good"


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("synthetc", "neither built in (image_classifier, synthetic) nor package.module:attribute", "mean synthetic?"),
        ("loading_god:Good", "there is no module 'loading_god'", "It is looked for in the installed packages"),
        ("loading_good.deep:Good", "there is no module 'loading_good.deep'", ""),
        ("loading_good:God", "there is a module loading_good, but no 'God' in it", "Did you mean loading_good:Good?"),
        ("loading_good:", "no '' in it", ""),
        (":Good", "'' is not a module's name", ""),
        ("..:Good", "is not a module's name", ""),
        ("loading_good:NoTrainable", "a class, but not a subclass of trainables.contract.Trainable", ""),
        ("loading_good:BaseModel", "not a subclass", ""),
        ("loading_good:__name__", "is no class but 'loading_good'", ""),
        ("loading_good:Unfinished", "does not implement train", ""),
        ("loading_good:WithoutConfig", "config_class must be a pydantic model", ""),
        ("loading_raises:Good", "importing loading_raises raised ValueError: not today at", "python -c"),
        ("loading_raises:Good", "loading_raises.py:2", ""),
        ("loading_exits:Good", "importing loading_exits raised SystemExit: 3", ""),
        ("loading_syntax:Good", "importing loading_syntax raised SyntaxError", ""),
        ("loading_needs:Good", "importing loading_needs raised ModuleNotFoundError: No module named 'a_package", ""),
    ],
)
def test_the_half_that_fails_is_named(name: str, message: str, hint: str) -> None:
    with pytest.raises(NoSuchTrainable) as caught:
        load_trainable(name)
    assert message in str(caught.value)
    assert hint in caught.value.hint
