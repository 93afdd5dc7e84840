"""`docs/models.md`, from the survey of models."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "models.md"
POOLINGS = ("native", "avg", "max", "avgmax", "catavgmax", "gem", "token", "map")
HEADER = (
    """\
| family | names: tried of all | for example | parameters | px, from | poolings | head | last_n | full \
| layer_lr_decay | blocks | features | ONNX | step s | MiB kept per image | image ms |
"""
    + "|---" * 16
    + "|"
)
Row = Mapping[str, str]


def write_page(rows: Mapping[str, Row], page: Path = PAGE) -> None:
    """Writes the page; a name without an outcome was counted, and not tried."""
    import timm
    from timm.models._registry import _model_to_module

    tried = [row for row in rows.values() if row["outcome"]]
    families: dict[str, list[Row]] = {}
    for row in tried:
        families.setdefault(row.get("module") or _model_to_module[row["name"]], []).append(row)
    sizes: dict[str, int] = {}
    for name in timm.list_models():
        if "trainables" not in str(timm.models.model_entrypoint(name).__module__):
            sizes[_model_to_module[name]] = sizes.get(_model_to_module[name], 0) + 1
    page.write_text(_page(tried, families, sizes, timm.__version__), encoding="utf-8")


def _page(tried: list[Row], families: Mapping[str, list[Row]], sizes: Mapping[str, int], version: str) -> str:
    right = [row for row in tried if row["outcome"] == "right"]
    no_onnx = [row for row in right if row["onnx"] == "0"]
    one_size = [row for row in right if row["resizable"] == "0" and row["published"] == "1"]
    alike = [row for row in right if row["onnx"] == "1" and row["spread"] and float(row["spread"]) < 0.05]
    table = "\n".join(_line(module, rows, sizes.get(module, 0)) for module, rows in sorted(families.items()))
    untried = sorted(set(sizes) - set(families))
    seconds = [float(row["cpu_s"]) for row in tried if row.get("cpu_s")]
    return f"""# Models

A sweep file may use any timm model, seven torchvision models, and four built-in ones:

    sweep models                            # all of them
    sweep models 'mobilenet*'               # by a pattern, or a part of the name
    sweep models --fits '5M params, 60 ms'  # by parameters, and CPU time per image
    sweep models --at-hand                  # published weights are on this machine

`sweep check` rejects what a model does not support, and lists what it supports: pooling, resolution, published weights
that do not fit, a `dropout`, `drop_path`, `width`, `unfrozen_blocks` or `layer_lr_decay` without effect, and
`pooling` over a single pixel (ResNet-18 at 32 pixels).

It tries models that are not in its table: a step on meta tensors, then, in another process, a step on two images, a
checkpoint, and loading it. This takes a second or two for most models, and the cache folder (`$SWEEP_CACHE`) keeps the
result for these versions of torch and timm. The check also warns of models that cannot be exported to ONNX, and of
training steps that need more memory than a machine without a GPU has.

## Families

Of timm {version}, {len(tried)} of {sum(sizes.values()):,} names in {len(families)} of {len(sizes)} families went the
whole way: check, two epochs with a stop between them, checkpoint, load, ONNX, and agreement with ONNX Runtime in
batches of 1, 7 and 4. {len(right)} came out right, {sum(row["outcome"] == "refused" for row in tried)} are refused by
the check, {sum(row["outcome"] == "infeasible" for row in tried)} did not fit into 10 GiB,
{sum(row["outcome"] == "failed" for row in tried)} failed. Of a model whose statistics and classifier are those of a new
one, all images get nearly the same answer, and agreement says nothing: both were changed before, so that answers
differ{_but(alike)}.

The figures are those of the family's model that is named: a training step on four images, and the forward pass of one,
at the resolution that it was published for, in CPU seconds on one thread of a shared machine: compare them with each
other, not with another machine's. `px` is that resolution and the smallest that it can be trained on; "only" marks
published weights that fit that one resolution. `head`, `last_n`, `full` are the ways of `finetune`; these and
`layer_lr_decay` were tried by counting which parameters learn, and at which rates. `blocks` is what `last_n` and
`layer_lr_decay` tell apart, the head included. `features` says whether head-only trials share stored features. A
training step keeps so many MiB of each image for its backward pass.

{HEADER}
{table}

Not tried yet, of these families: {", ".join(untried) or "none"}.

## Without ONNX

{_no_onnx(no_onnx)}

## Without stored features

{_no_features(right)}

## Published weights that fit one resolution

{_sentence((f"{row['name']} ({row['usual_resolution']})" for row in one_size), "None of those tried.")} At another
resolution use `finetune: scratch`, or a weight file of that resolution.

## Refused or failed

{_reasons(row for row in tried if row["outcome"] != "right")}

A process of the survey may take 10 GiB, and each name 600 CPU seconds.

## Run it again

    python -m benchmarks.models count                 # parameters of all names
    python -m benchmarks.models prove --until 23:00   # goes on where it ended; twenty names per process
    python -m benchmarks.models features              # stored features again, of models that had none
    python -m benchmarks.models write                 # this page

The rows are in `trainables/image/models/survey.csv`.{_took(seconds)}
"""


def _took(seconds: list[float]) -> str:
    if not seconds:
        return ""
    return f" The last {len(seconds)} took {sum(seconds):,.0f} CPU s, {statistics.median(seconds):.0f} each (median)."


def _line(module: str, rows: list[Row], total: int) -> str:
    row = next((row for row in rows if row["outcome"] == "right"), rows[0])
    count = f"{len(rows)} of {total}"
    if row["outcome"] != "right":
        return f"| {module} | {count} | {row['name']} | {row['outcome']} {'| ' * 12}|"
    has = row["poolings"].split()
    lacks = [kind for kind in POOLINGS if kind not in has]
    poolings = " ".join(has) if len(has) <= len(lacks) else f"all but {' '.join(lacks)}" if lacks else "all"
    works = row["finetune"].split()
    ways = " | ".join("yes" if way in works else "no" for way in ("head", "last_n", "full", "layer_lr_decay"))
    only = " only" if row["published"] == "1" and row["resizable"] == "0" else ""
    return (
        f"| {module} | {count} | {row['name']} | {int(row['parameters']) / 1e6:.1f}M "
        f"| {row['usual_resolution']}{only}, {row['smallest_resolution']} | {poolings} | {ways} | {row['num_blocks']} "
        f"| {'yes' if row['stored_features'] == 'yes' else 'no'} | {'yes' if row['onnx'] == '1' else 'no'} "
        f"| {row['step_s']} | {row['kept_mib']} | {row['image_ms']} |"
    )


def _but(alike: list[Row]) -> str:
    if not alike:
        return ""
    return f" (but for {', '.join(row['name'] for row in alike)}, which still answer alike)"


def _no_onnx(rows: list[Row]) -> str:
    names = _sentence((row["name"] for row in rows), "None of those tried.")
    return (
        f"{names} Their package is published as `model.safetensors`, with the code that loads it in its `README.md`; "
        "the sweep says so, and ends well. `sweep predict`, `evaluate` and `serve` need ONNX."
    )


def _no_features(rows: list[Row]) -> str:
    lines = [f"- {row['stored_features']}" for row in rows if row["stored_features"] not in ("", "yes")]
    if not lines:
        return "None of those tried."
    return (
        "The backbone of these runs in each epoch of a head-only trial, and `sweep check` says so:\n\n"
        + "\n".join(lines)
        + "\n\nWhat is stored is one vector per image. VOLO classifies each patch besides: at 224 pixels its 197\n"
        "vectors of 384 numbers would take twice the room of the pixels."
    )


def _sentence(items: Iterable[str], otherwise: str) -> str:
    listed = ", ".join(items)
    return f"{listed}." if listed else otherwise


def _reasons(rows: Iterable[Row]) -> str:
    lines = [f"- {row['name']}: {row['outcome']}: {row['reason']}" for row in rows]
    return "\n".join(lines) or "None."
