"""Every kind of wrong request, through the command line: the value, its place, the rule, and what to do about it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from sweep_runner.cli.main import main
from tests.support.cli import IMAGES, Refused
from tests.support.sweeps import sweep_command

SYNTHETIC = "name: small\ntrainable: synthetic\nspace: {lr: [0.1, 0.01]}\n"


@pytest.fixture(autouse=True)
def _files(here: Path) -> None:
    Path("good.yaml").write_text(IMAGES)
    Path("small.yaml").write_text(SYNTHETIC)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "bad.yaml: is empty"),
        (b"\n# nothing\n", "bad.yaml: is empty"),
        (b"- a\n- b\n", "bad.yaml:1: contains a list"),
        (b"just words\n", "bad.yaml:1: contains"),
        ("name: café\n".encode("latin-1"), "bad.yaml:1: byte 0xe9 is not UTF-8"),
        (SYNTHETIC.encode("utf-16"), "not UTF-8"),
        (b"name: a\nspace:\n\tlr: [1]\n", "bad.yaml:3: a tab"),
        (b"name: a\ntrainable: synthetic\nname: b\n", "bad.yaml:3: the key 'name' is duplicate, first in line 1"),
        (b"name: a\ndata: !!python/object:os.system {}\n", "bad.yaml:2: the tag '!!python/object:os.system'"),
        (b"name: [a\n", "not valid YAML"),
        (b"name: a\x00b\n", "bad.yaml"),
    ],
)
@pytest.mark.parametrize("command", ["run", "check", "trial"])
def test_a_file_that_is_no_sweep_file(content: bytes, told: str, command: str, refused: Refused) -> None:
    Path("bad.yaml").write_bytes(content)
    assert told in refused(command, "bad.yaml")


@pytest.mark.parametrize("command", ["run", "check", "trial"])
def test_a_file_that_is_not_there(command: str, refused: Refused) -> None:
    assert "god.yaml: no such file\n    Did you mean good.yaml?" in refused(command, "god.yaml")
    Path("folder").mkdir()
    assert "folder: is a folder" in refused(command, "folder")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("trainable:", "trainible:", "bad.yaml:3: a sweep file has no key 'trainible'\n    Did you mean trainable?"),
        ("trials: 2", "trails: 2", "bad.yaml:10: search has no key 'trails'\n    Did you mean trials?"),
        ("epochs: 1", "epochs: two", "bad.yaml:4: fixed.epochs is 'two': must be"),
        ("trials: 2", "trials: many", "bad.yaml:10: search.trials is 'many': must be"),
        ("low: 1e-4, high: 1e-1", "low: 1e-1, high: 1e-4", "bad.yaml:9: space.lr: low 0.1 is above high 0.0001"),
        ("low: 1e-4", "low: 0", "bad.yaml:9: space.lr: low 0.0 with log: true, but a logarithm needs low > 0"),
        ("simple_cnn3", "simple_cn3", "bad.yaml:6: space.model: there is no model 'simple_cn3': did you mean simple_"),
        ("when: {optimizer", "when: {optimiser", "bad.yaml:8: space.momentum.when: 'optimiser' is neither in the"),
        (
            "optimizer: [adam, sgd]",
            "optimizer: {values: [adam, sgd], when: {momentum: 0.9}}",
            "bad.yaml:7: space.optimizer.when: circular conditions: optimizer → momentum → optimizer",
        ),
        (
            "[simple_cnn3, mlp6]",
            "[convnext_tiny]\n  pooling: [avg, catavgmax]",
            "bad.yaml:7: space.pooling: convnext_tiny does not support catavgmax: it supports ",
        ),
        (
            "search:",
            "baselines:\n  mine: {model: mlp6, optimizer: adam, lr: 1.0}\nsearch:",
            "bad.yaml:11: baselines.mine.lr is 1.0: outside the space (0.0001 to 0.1, log)",
        ),
        ("trainable: image_classifier", "trainable: image_clasifier", "Did you mean image_classifier?"),
        ("search:", "objective: {metric: val_acuracy}\nsearch:", "Did you mean val_accuracy?"),
        (
            "dataset: image_folder",
            "dataset: image_foldr",
            "bad.yaml:2: data.dataset: unknown dataset 'image_foldr' (did you",
        ),
    ],
)
def test_a_key_or_value_that_is_wrong(old: str, new: str, told: str, refused: Refused) -> None:
    assert old in IMAGES
    Path("bad.yaml").write_text(IMAGES.replace(old, new))
    for command in ("run", "check"):
        assert told in refused(command, "bad.yaml")


def test_overrides_are_named_as_the_place(refused: Refused) -> None:
    assert "--set fixed.epochs=0: fixed.epochs is 0: must be at least 1" in refused(
        "run", "good.yaml", "--set", "fixed.epochs=0"
    )
    assert "--set fixed.epochs: must be KEY=VALUE" in refused("run", "good.yaml", "--set", "fixed.epochs")
    assert "--set search.trials=[: not valid YAML" in refused("run", "good.yaml", "--set", "search.trials=[")


def test_a_choice_that_set_makes_smaller_takes_its_conditions_along(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("wide.yaml").write_text(
        IMAGES.replace(
            "  lr:",
            "  width: {values: [8, 16], when: {model: [simple_cnn3, mlp6]}}\n"
            "  batch_size: {values: [8], when: {model: mlp6}}\n  lr:",
        )
    )
    assert main(["check", "wide.yaml", "--set", "space.model=[simple_cnn3]"]) == 0
    out, told = capsys.readouterr()
    assert "width\tone of 8, 16\tmodel is simple_cnn3\n" in out
    assert "batch_size\t" not in out
    assert "warning: batch_size is left out of the space: with model " in told


# The results folder -----------------------------------------------------------------------------------------------


def test_a_file_in_the_place_of_the_results_folder(refused: Refused) -> None:
    Path("file").write_text("mine")
    for command in (["run", "small.yaml"], ["ls"], ["top", "small"], ["query", "select 1"], ["resume", "small"]):
        assert "--results file: " in refused(*command, "--results", "file")
    told = refused("run", "small.yaml", "--results", "file/below")
    assert f"cannot write here ({Path('file').absolute()} is a file, not a folder)" in told
    assert "--results DIR" in told
    Path("results").mkdir()
    Path("results/small").write_text("mine")
    assert "results/small is a file, not a folder" in refused("run", "small.yaml")
    assert Path("file").read_text() == Path("results/small").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "reason"),
    [("ro,size=64k", "Read-only file system"), ("size=4k,nr_inodes=9", "No space left on device")],
)
def test_a_results_folder_that_cannot_be_written(options: str, reason: str, here: Path) -> None:
    """On file systems of their own: root, who may run the tests, can write into any folder."""
    Path("mount").mkdir()
    command = " ".join(sweep_command("run", here / "small.yaml", "--results", "mount"))
    fill = "" if options.startswith("ro") else "head -c 4096 /dev/zero > mount/full && "
    script = f"mount -t tmpfs -o {options} tmpfs mount || exit 77; {fill}{command}; code=$?; ls -A mount; exit $code"
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare, to mount a file system")
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    if done.returncode in (1, 77) and "cannot write" not in done.stderr:
        pytest.skip(f"cannot mount a file system here: {done.stderr.strip()}")
    assert done.returncode == 2
    assert f"cannot write here ({reason})" in done.stderr
    assert "Traceback" not in done.stderr
    assert "small" not in done.stdout, "the sweep's folder is left behind"


def test_no_sweep_of_that_name(refused: Refused) -> None:
    for command in (["resume", "small"], ["top", "small"], ["show", "small", "0"], ["export", "small"]):
        assert "no sweeps in " in refused(*command)
    Path("results/small").mkdir(parents=True)
    Path("results/small/sweep.yaml").write_text(SYNTHETIC)
    for command in (["resume", "smal"], ["top", "smal"], ["show", "smal", "0"], ["export", "smal"]):
        assert "did you mean 'small'?" in refused(*command)


def test_a_second_run_of_the_same_name_is_told_every_choice(refused: Refused) -> None:
    Path("elsewhere/small").mkdir(parents=True)
    Path("elsewhere/small/sweep.yaml").write_text(SYNTHETIC)
    told = refused("run", "small.yaml", "--results", "elsewhere")
    assert "a sweep named 'small' exists already" in told
    assert "    sweep resume small --results elsewhere  " in told
    for choice in ("sweep run FILE --fresh", "sweep run FILE --set name=OTHER"):
        assert choice in told


@pytest.mark.parametrize(("content", "told"), [("", "is empty"), ("name: [\n", "not valid YAML"), (None, "is missing")])
def test_a_sweeps_own_file_that_was_damaged_or_removed(content: str | None, told: str, refused: Refused) -> None:
    root = Path("results/small")
    root.mkdir(parents=True)
    (root / "log.jsonl").write_text("")
    if content is not None:
        (root / "sweep.yaml").write_text(content)
    text = refused("resume", "small")
    assert f"{root.absolute()}/sweep.yaml" in text
    assert told in text
    assert "run the file that the sweep came from again" in text


# Queries ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("selec 1", "the query is wrong: syntax error"),
        ("select nothing from trials", "not found"),
        ("select * from trails", "no table 'trails'\n    did you mean 'trials'?"),
        ("", "the query is empty"),
        ("select 1; select 2", "2 statements, but a query must be one"),
        ("insert into trials values (1)", "INSERT is refused: queries are read-only"),
        ("create table mine as select 1", "CREATE is refused"),
        ("copy (select 1) to 'mine.csv'", "COPY is refused"),
        ("drop table trials", "DROP is refused"),
        ("attach 'mine.db'", "ATTACH is refused"),
        ("set enable_external_access = true", "SET is refused"),
        ("select * from read_text('small.yaml')", "refused: "),
    ],
)
def test_sql_that_is_wrong_or_would_write(sql: str, told: str, here: Path, refused: Refused) -> None:
    Path("results/small").mkdir(parents=True)
    Path("results/small/sweep.yaml").write_text(SYNTHETIC)
    files = sorted(here.rglob("*"))
    assert told in refused("query", sql)
    assert sorted(here.rglob("*")) == files
