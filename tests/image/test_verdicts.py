"""What the check tries with a model: in a process of its own, once, and remembered."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from trainables import telling
from trainables.image.checks import advice, rehearsal, verdicts
from trainables.image.config import ImageConfig
from trainables.image.models import tryout
from trainables.image.models.survey import has_features, why_no_features
from trainables.image.trainable import ImageClassifier

UNSEEN = "test_unseen_net"
"""A name that no survey has."""


@pytest.fixture
def own_process(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(rehearsal, "_process", None)
    rehearsal.rehearse.cache_clear()
    return monkeypatch


def answering(code: str) -> tuple[str, ...]:
    return sys.executable, "-c", f"import os, signal, sys\nfor line in sys.stdin:\n    {code}"


def test_a_step_a_checkpoint_and_its_loading_are_done(own_process: pytest.MonkeyPatch) -> None:
    assert rehearsal.rehearse("test_vit", "avg", 32, 1) is None
    assert "don't fit evenly" in str(rehearsal.rehearse("nest_tiny", "native", 100, 3))


def test_a_model_that_ends_its_process_is_refused_and_the_next_one_tried(own_process: pytest.MonkeyPatch) -> None:
    crash = "os.kill(os.getpid(), signal.SIGSEGV) if 'bad' in line else print('null', flush=True)"
    own_process.setattr(rehearsal, "_COMMAND", answering(crash))
    assert rehearsal.rehearse("good", "native", 32, 3) is None
    assert rehearsal.rehearse("bad", "native", 32, 3) == "a training step ends its process (SIGSEGV)"
    assert rehearsal.rehearse("good", "avg", 32, 3) is None


def test_a_process_that_is_asked_nothing_ends_and_the_next_question_has_another(
    own_process: pytest.MonkeyPatch,
) -> None:
    """It holds 600 MB: a sweep that follows the check would have them beside it until it ends."""
    own_process.setattr(rehearsal, "_COMMAND", (*rehearsal._COMMAND[:-1], "0.1"))
    assert rehearsal.rehearse("test_vit", "avg", 32, 1) is None
    assert rehearsal._process is not None
    before = rehearsal._process._child
    before.wait(timeout=60)
    assert "don't fit evenly" in str(rehearsal.rehearse("nest_tiny", "native", 100, 3))
    assert rehearsal._process._child is not before


def test_one_that_takes_too_long_is_not_refused(own_process: pytest.MonkeyPatch) -> None:
    own_process.setattr(rehearsal, "_COMMAND", answering("os.kill(os.getpid(), signal.SIGXCPU)"))
    assert rehearsal.rehearse("slow", "native", 32, 3) is None, "its processor time is used up"
    own_process.setattr(rehearsal, "_COMMAND", answering("signal.pause()"))
    own_process.setattr(rehearsal, "_SECONDS", 0.2)
    assert rehearsal.rehearse("waiting", "native", 32, 3) is None


def test_a_translation_is_tried_for_a_model_that_nobody_has_surveyed(own_process: pytest.MonkeyPatch) -> None:
    config = ImageConfig(model="test_efficientnet", finetune="scratch", input_resolution=32)
    own_process.setattr(advice, "has_onnx", lambda name: None)
    said = {"null": None, '"none of aten.sort"': "has no ONNX translation (none of aten.sort): if it is the best"}
    for answer, message in said.items():
        own_process.setattr(rehearsal, "_process", None)
        own_process.setattr(rehearsal, "_COMMAND", answering(f"print({answer!r}, flush=True)"))
        rehearsal.translate.cache_clear()
        own_process.setattr(advice, "translates", lambda name: rehearsal.translate(name, 32))
        told = ImageClassifier.check(config)
        assert [problem.fatal for problem in told] == ([] if message is None else [False])
        assert all(str(message) in problem.message for problem in told)

    own_process.setattr(rehearsal, "_process", None)
    own_process.setattr(rehearsal, "_COMMAND", answering("os.kill(os.getpid(), signal.SIGXCPU)"))
    rehearsal.translate.cache_clear()
    (told_late,) = ImageClassifier.check(config)
    assert "is not known: trying took too long" in told_late.message


def test_a_translation_is_done(own_process: pytest.MonkeyPatch) -> None:
    rehearsal.translate.cache_clear()
    assert rehearsal.translate("mlp6", 8) is True
    assert "don't fit evenly" in str(rehearsal.translate("nest_tiny", 100))


def test_what_is_tried_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path))
    monkeypatch.setattr(tryout, "impossible", lambda *asked: None)
    told: list[tuple[str, int, int]] = []
    with telling.listening(lambda *news: told.append(news)):
        telling.count(3, 12)
        for _ in range(2):
            assert verdicts.impossible(UNSEEN, "avg", 32) is None
    assert told == [(f"trying {UNSEEN}", 3, 12)], "once: then it is known"
    assert verdicts.impossible(UNSEEN, "max", 32) is None, "nobody listens"


def test_the_check_tells_what_the_rehearsal_found(own_process: pytest.MonkeyPatch) -> None:
    own_process.setattr(rehearsal, "_COMMAND", answering("""print('"it has an odd shape"', flush=True)"""))
    own_process.setattr("trainables.image.checks.model.survey", dict)
    own_process.setattr("trainables.image.checks.model.MODELS", {})
    config = ImageConfig(model="test_efficientnet", finetune="scratch", input_resolution=32)
    (problem,) = ImageClassifier.check(config)
    assert problem.message == "test_efficientnet cannot be trained on 32 pixels: it has an odd shape"
    assert problem.fatal


def test_what_was_found_is_remembered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path))
    tried: list[str] = []

    def impossible(name: str, *rest: object) -> str:
        tried.append(name)
        return "too small"

    monkeypatch.setattr(tryout, "impossible", impossible)
    for _ in range(2):
        verdicts._open.cache_clear()  # as another process, which reads the file
        assert verdicts.impossible(UNSEEN, "avg", 32) == "too small"
    assert verdicts.impossible(UNSEEN, "max", 32) == "too small"
    assert tried == [UNSEEN, UNSEEN], "once for each pooling"

    (file,) = (tmp_path / "model-checks").iterdir()
    file.write_text(file.read_text(encoding="utf-8")[:-5], encoding="utf-8")  # cut short by a kill
    verdicts._open.cache_clear()
    assert verdicts.impossible(UNSEEN, "avg", 32) == "too small"
    assert len(tried) == 2
    assert verdicts.impossible(UNSEEN, "max", 32) == "too small"
    assert len(tried) == 3
    assert json.loads(file.read_text(encoding="utf-8").splitlines()[-1])[1] == "too small"


def test_other_versions_are_tried_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    own = verdicts._versions()
    verdicts._versions.cache_clear()
    monkeypatch.setattr("importlib.metadata.version", lambda name: "99.0")
    other = verdicts._versions()
    verdicts._versions.cache_clear()
    assert own != other


def test_what_does_not_fit_into_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    config = ImageConfig(model="convnext_atto", batch_size=4096, input_resolution=512)
    monkeypatch.setattr(advice, "memory_bytes", lambda: 8 * 10**9)
    (told,) = ImageClassifier.check(config)
    assert not told.fatal
    assert "a training step of convnext_atto on 4096 images of 512 pixels takes about" in told.message
    assert "this machine has 8 GB" in told.message
    monkeypatch.setattr(advice, "memory_bytes", lambda: None)  # a GPU's memory counts
    assert ImageClassifier.check(config) == []


def test_what_a_step_keeps_grows_with_the_image() -> None:
    small, large = (tryout.image_bytes("test_efficientnet", "native", size) for size in (32, 64))
    assert 3.0 < large / small < 5.0
    # Attention keeps no table of tokens × tokens: it does not grow with their square.
    few, many = (tryout.image_bytes("test_vit", "native", size) for size in (64, 256))
    assert many / few < 24.0


def test_a_model_without_onnx_is_told_before_it_is_trained() -> None:
    (told,) = ImageClassifier.check(ImageConfig(model="tf_efficientnet_cc_b0_4e", finetune="scratch"))
    assert told.message.startswith("tf_efficientnet_cc_b0_4e has no ONNX translation")
    assert not told.fatal
    assert ImageClassifier.check(ImageConfig(model="mobilenet_v2")) == []


def test_a_model_without_stored_features_is_told_where_others_have_them() -> None:
    def told(**values: Any) -> list[str]:
        config = ImageConfig(model="volo_d1_224", input_resolution=224, **values)
        return [problem.message for problem in ImageClassifier.check(config)]

    (without,) = told(finetune="head")
    assert without.startswith("head-only trials store no features, and the backbone runs in each epoch: it gives a")
    assert told(finetune="head", features="none") == told(finetune="full") == []
    assert told(finetune="head", augment="light") == [], "the backbone of any model runs in each epoch then"
    assert told(finetune="head", augment="light", feature_views=4) == [without]


def test_of_stored_features_a_name_that_was_not_tried_is_as_its_family() -> None:
    assert why_no_features("volo_d5_512") == why_no_features("volo_d1_224") is not None
    assert (has_features("volo_d5_512"), has_features("resnet152"), has_features("no_such_model")) == (
        False,
        True,
        None,
    )


def test_a_size_that_does_not_work_is_answered_with_those_that_do() -> None:
    (told,) = ImageClassifier.check(ImageConfig(model="nest_tiny", finetune="scratch", input_resolution=100))
    assert told.message == "nest_tiny cannot work on 100 pixels: it works on 96, 128 and 224 pixels"
