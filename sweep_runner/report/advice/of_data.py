"""Rules about the data: how many examples val has, which of them are wrong, and whether some are there twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from sweep_runner.report.accuracy import accuracy
from sweep_runner.report.advice.evidence import Advice, Evidence
from sweep_runner.report.facts import probabilities
from sweep_runner.results.answer import answer_of

_RIVALS = 2
"""Other trials within the best one's interval, from which on their order is chance to a good part."""
_FOLDS = "data.split.folds"
_FEWEST_ERRORS = 10
_GAINED, _GAINED_OF_LABELS = 0.25, 0.5
"""Of what a constant answer lacks, of one label per example and of several: with less, a figure is hardly the model's
doing. Of labels that nearly every image has, or none, most of a figure is there by itself."""
_IN_MOST = 0.9
_SHARE_OF_ERRORS = 0.4
_TIMES_ITS_SHARE = 2.0
_SURE, _UNLIKELY = 0.95, 0.01
_RELIABLE = 0.9
"""How often the model is right where it is sure, so that being sure says something."""
_FEWEST_DOUBTS = 3
_NO_FILES = ("digits", "cifar10", "cifar100")
"""Data sets whose examples are known, and are no files of the user's."""


def val_too_small(seen: Evidence) -> Iterator[Advice]:
    """Half of the trials that were compared with the best one, or more, cannot be told apart from it; or, where nobody
    has compared them, others lie within the interval of its accuracy on val."""
    if (answer := answer_of(seen.board)) is not None and len(answer.compared) > 1:
        if answer.is_loose:
            share = answer.shares.get(answer.winner)
            evidence = f"{len(answer.alike)} of {len(answer.compared)} compared trials do not differ significantly"
            evidence += f"; the best one has {share} on val" if share is not None else ""
            enough = f": to separate the best two takes about {answer.enough:,}" if answer.enough else ""
            more = "more examples for val" if _has_folds(seen) else f"more examples for val, or folds ({_FOLDS})"
            yield Advice("val too small", evidence, f"{more}{enough}")
        return
    if seen.on_val is None or (found := accuracy(seen.on_val)) is None:
        return
    others = [{seen.board.objective: row.value, **row.metrics}.get("val_accuracy") for row in seen.ranked[1:]]
    known = [value for value in others if value is not None]
    rivals = sum(value >= found.low for value in known)
    if rivals < _RIVALS:
        return
    evidence = (
        f"{rivals} of {len(known)} other trials lie within the interval of the best one, which has {found} on val"
    )
    more = "more examples" if _has_folds(seen) else f"more examples for val, or folds ({_FOLDS}), so that all validate"
    yield Advice("val too small", evidence, f"{more}; until then the order is mostly chance", "")


def hardly_above_constant(seen: Evidence) -> Iterator[Advice]:
    """The best value is not far above what one and the same answer to every image would have."""
    if seen.on_val is None or seen.best.value is None or seen.board.mode != "max":
        return
    labels: list[list[str]] = seen.on_val["labels"].to_pylist()
    classes = [name.removeprefix("p_") for name in seen.on_val.column_names if name.startswith("p_")]
    counts = Counter(label for row in labels for label in row)
    shares = {name: counts[name] / len(labels) for name in classes} if labels else {}
    if not shares:
        return
    single = all(len(row) == 1 for row in labels)
    most = max(shares, key=lambda name: shares[name])
    constant = {
        "val_accuracy": shares[most] if single else sum(max(each, 1 - each) for each in shares.values()) / len(shares),
        "val_macro_f1": 2 * shares[most] / (1 + shares[most]) / len(shares) if single else None,
        "val_map": sum(shares.values()) / len(shares),
    }.get(seen.board.objective)
    least = _GAINED if single else _GAINED_OF_LABELS
    if constant is None or seen.best.value - constant >= least * (1 - constant):
        return
    answers = f"always answering {most}" if single else "one and the same answer to every image"
    often = [f"{name} {counts[name]} of {len(labels)}" for name in classes if shares[name] >= _IN_MOST]
    evidence = f"{seen.board.objective} is {seen.best.value:.3f}, and {answers} would have {constant:.3f}"
    evidence += f": nearly every image has {', '.join(often)}" if often and not single else ""
    action = "leave labels out that nearly all images have, or classify objects (data.view: crops)"
    yield Advice(
        "little above a constant answer", evidence, "train longer, or with more examples" if single else action
    )


def _has_folds(seen: Evidence) -> bool:
    return seen.on_val is not None and "fold" in seen.on_val.column_names


def one_class_has_the_errors(seen: Evidence) -> Iterator[Advice]:
    """One class has a share of the errors on val that is far beyond its share of the examples."""
    table = seen.on_val
    if table is None:
        return
    labels, predicted = table["labels"].to_pylist(), table["predicted"].to_pylist()
    single = all(len(row) == 1 for row in (*labels, *predicted))
    errors: Counter[str] = Counter()
    examples: Counter[str] = Counter()
    taken_for: Counter[tuple[str, str]] = Counter()
    for actual, said in zip(labels, predicted, strict=True):
        examples.update(actual)
        if single and actual != said:
            errors[actual[0]] += 1
            taken_for[actual[0], said[0]] += 1
        elif not single:
            errors.update(set(actual) ^ set(said))
    total = sum(errors.values())
    if total < _FEWEST_ERRORS or len(examples) < 3:
        return
    name, count = errors.most_common(1)[0]
    share = examples[name] / sum(examples.values())
    if count / total < _SHARE_OF_ERRORS or count / total < _TIMES_ITS_SHARE * share:
        return
    evidence = (
        f"{count} of {total} errors on val are of class {name}, which {examples[name]} of {len(labels)} examples have"
    )
    most = max(((times, said) for (actual, said), times in taken_for.items() if actual == name), default=None)
    if most is not None:
        evidence += f" (most often predicted as {most[1]}: {most[0]})"
    action = "inspect them in the report, and give the class more examples or weight (data.balance)"
    yield Advice("one class has the errors", evidence, action, f"sweep report {seen.name} --open{seen.where}")


def suspicious_labels(seen: Evidence) -> Iterator[Advice]:
    """On val the model is sure of another class than the label, and where it is sure it is mostly right."""
    table = seen.on_val
    if table is None:
        return
    labels, predicted = table["labels"].to_pylist(), table["predicted"].to_pylist()
    scores = probabilities(table)
    if not scores.size or any(len(row) != 1 for row in (*labels, *predicted)):
        return
    names = [name.removeprefix("p_") for name in table.column_names if name.startswith("p_")]
    position = {name: number for number, name in enumerate(names)}
    own = np.array([scores[k, position[row[0]]] if row[0] in position else 1.0 for k, row in enumerate(labels)])
    sure = scores.max(axis=1) >= _SURE
    right = np.array([actual == said for actual, said in zip(labels, predicted, strict=True)])
    doubtful = np.flatnonzero(sure & ~right & (own <= _UNLIKELY))
    if len(doubtful) < _FEWEST_DOUBTS or right[sure].mean() < _RELIABLE:
        return
    first = int(doubtful[np.argmax(scores[doubtful].max(axis=1))])
    evidence = (
        f"{len(doubtful)} of {len(labels)} val examples are labelled otherwise than the best trial is sure of (from "
        f"{_SURE:.0%} on, where it is right on {right[sure].mean():.1%}), such as {table['example'][first].as_py()}: "
        f"labelled {labels[first][0]}, said {predicted[first][0]}"
    )
    command = f"sweep data check {seen.file} --html data.html"
    yield Advice("suspicious labels", evidence, "check the labels with the data check", command)


def near_duplicates(seen: Evidence) -> Iterator[Advice]:
    """Pictures were divided without looking whether some are nearly alike, and val came out nearly perfect."""
    spec = seen.spec
    if spec is None or spec.trainable != "image_classifier" or spec.data.get("dataset") in (None, *_NO_FILES):
        return
    split = spec.data.get("split") or {}
    if split.get("group_by") == "near_duplicates" or seen.on_val is None or "near_duplicates" in seen.found.details:
        return
    found = accuracy(seen.on_val)
    # The accuracy of labels is high by itself: most are rightly absent.
    if found is None or not found.is_count or found.value < _RELIABLE or found.num_groups < found.num_examples:
        return
    evidence = (
        f"accuracy on val is {found}, but near-duplicates were not checked: images of one scene in both train and "
        f"val would make it too high"
    )
    command = f"sweep data check {seen.file}"
    yield Advice("near-duplicates", evidence, "check for them, or keep them in one split: data.split.group_by", command)
