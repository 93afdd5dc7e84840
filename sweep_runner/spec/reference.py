"""The reference page of the sweep file, written from its JSON Schema: what editors complete and what people read agree.

`sweep schema --format markdown` prints it; a test compares the page in docs/ with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sweep_runner.spec.schema import Schema, sweep_schema
from sweep_runner.spec.strategies import SAMPLERS
from trainables.loading import BUILT_IN, load_trainable

_SECTIONS = ("objective", "resources", "cluster", "keep", "export", "notify")
"""Sections that are a table and nothing else."""

_OPENING = """\
# The sweep file

This page is generated from the models that check the file:
`sweep schema --format markdown --output docs/sweep-file.md`. Your own trainable brings keys of its own for `fixed`,
`space`, `baselines` and `data`: see [own-trainable.md](own-trainable.md).

## How the file is read

- UTF-8 text in YAML with the scalars of YAML 1.2: `no`, `off` and `yes` are text (`mixed_precision: no` is the text
  `no`), only `true` and `false` are booleans, and `1e-3` is a number. A key that is written twice is an error, and so
  is a tag (`!!python/object`). Anchors, aliases and `<<` work.
- In `data`, `fixed`, `space` and `baselines`, `$NAME`, `${NAME}` and a leading `~` are expanded. A variable that is
  not set is an error. Relative paths are relative to the directory in which the command runs.
- `--set KEY=VALUE` overrides any key, as often as needed; KEY is a path with dots, VALUE is read as YAML:
  `--set search.trials=4 --set 'space.model=[mlp6]'`. A mapping or list replaces the one in the file:
  `--set 'baselines={}'` removes all baselines, `--set baselines.NAME=null` removes one. Do that when you override the
  space so that a baseline is no longer in it.
- All errors are reported at once, before anything starts, with place, value, rule, and the nearest valid spelling.
"""

_SPACE = """\
## `space`

Each entry is a hyperparameter of the trainable, and one of these:

| form | meaning |
|---|---|
| `[a, b, c]` or `{values: [a, b, c]}` | one of these values |
| `a` | always this value; unlike under `fixed` it has a column in the tables |
| `{low: 1, high: 9}` | a number from low to high, both included; whole where the key takes whole numbers |
| `{low: 1e-5, high: 1e-1, log: true}` | spread evenly over orders of magnitude |
| `{low: 96, high: 224, step: 32}` | only low, low + step, low + 2 steps, … |
| any mapping with `when: {optimizer: sgd}` | exists only while each named key has this value, or one of a list |

```yaml
space:
  optimizer: [adam, sgd]
  momentum: {values: [0.8, 0.9], when: {optimizer: sgd}}
  lr: {low: 1e-5, high: 1e-1, log: true}
  input_resolution: {low: 96, high: 224, step: 32}
```

`workers` may be here as well. It is a key of `resources` and no hyperparameter: each trial then has its own number, see
[several-workers.md](several-workers.md).

## `baselines`

Known configurations, by name. They are the first trials, and their names are in every table. A baseline gives every
parameter that applies to it a value inside the space, and may repeat what is fixed.

```yaml
space: {optimizer: [adam, sgd], lr: {low: 1e-5, high: 1e-1, log: true}}
baselines:
  adam-usual: {optimizer: adam, lr: 0.001}
```
"""


_GOALS_AFTER = {
    "objective": (
        """A name alone is short for its metric: `objective: val_accuracy`.
Several are a list, of names or of sections with these keys:

```yaml
objective: [val_accuracy, onnx_latency_ms, {metric: num_parameters}]
```
""",
    )
}
_LIMITS = """```yaml
limits:
  num_parameters: 5e6
  onnx_latency_ms: {max: 20, batch: 1, threads: 1}
```

[Small and fast models](goals.md) tells what can be limited, and what happens to trials above a limit.
"""


def sweep_reference() -> str:
    """The page as Markdown."""
    schema = sweep_schema()
    defs: Mapping[str, Schema] = schema["$defs"]
    parts = [_OPENING, *_top(schema), _SPACE]
    for section in _SECTIONS:
        parts += [f"## `{section}`\n", f"{schema['properties'][section]['description']}\n"]
        parts += _table(_model(schema["properties"][section], defs), defs, section)
        parts += _GOALS_AFTER.get(section, ())
        if section == "objective":
            parts += _table(defs["Goal"], defs, "objective")
            parts += ["## `limits`\n", f"{schema['properties']['limits']['description']}\n"]
            parts += [f"Each is a number or:\n\n{_LIMITS}", *_table(defs["Limit"], defs, "limits")]
    parts += _search(schema["properties"]["search"], defs)
    parts += _pruners(schema["properties"]["pruner"], defs)
    for name, rule in zip(BUILT_IN, schema["allOf"], strict=True):
        parts += _trainable(name, rule["then"]["properties"], defs)
    return "\n".join(parts).rstrip("\n") + "\n"


def _top(schema: Schema) -> Iterator[str]:
    yield "## Top-level keys\n"
    yield from _rows(schema["properties"], schema["required"], schema["$defs"], links=True)


def _search(search: Schema, defs: Mapping[str, Schema]) -> Iterator[str]:
    yield "## `search`\n"
    yield f"{search['description']}\n"
    yield from _table(search, defs, "search")
    yield "### `search.options`\n"
    for sampler, choice in SAMPLERS.items():
        options = choice.options
        model = defs[options.__name__]
        yield f"`{sampler}`{':' if model.get('properties') else ': none.'}\n"
        yield from _table(model, defs, "search.options")


def _pruners(pruner: Schema, defs: Mapping[str, Schema]) -> Iterator[str]:
    yield "## `pruner`\n"
    yield f"{pruner['description']} A kind alone means its defaults: `pruner: median`.\n"
    for form in pruner["anyOf"]:
        if "$ref" in form:
            model = _model(form, defs)
            properties = {name: value for name, value in model["properties"].items() if name != "kind"}
            yield f"`kind: {model['properties']['kind']['const']}`: {model['description']}\n"
            yield from _table({**model, "properties": properties}, defs, "pruner")


def _trainable(name: str, keys: Mapping[str, Schema], defs: Mapping[str, Schema]) -> Iterator[str]:
    about = (load_trainable(name).__doc__ or "").partition("\n")[0]
    yield f"## `trainable: {name}`\n"
    yield f"{about}\n"
    if "objective" in keys:
        metrics = keys["objective"]["properties"]["metric"]["enum"]
        yield f"Metrics for `objective`: {_listed(metrics)}.\n"
    yield f"### Hyperparameters of `{name}`\n"
    yield "For `fixed`, `space` and `baselines`.\n"
    yield from _table(keys["fixed"], defs, "fixed")
    yield f"### `data` of `{name}`\n"
    if keys["data"]["properties"]:
        yield from _table(keys["data"], defs, "data")
    else:
        yield "It reads no data: the file needs no such section.\n"


def _table(model: Schema, defs: Mapping[str, Schema], path: str) -> Iterator[str]:
    """The keys of one section, then the sections inside it."""
    properties: Mapping[str, Schema] = model.get("properties", {})
    if not properties:
        return
    yield from _rows(properties, model.get("required", ()), defs)
    for name, value in properties.items():
        for section in _sections(value, defs):
            yield f"`{path}.{name}`:\n"
            yield from _table(section, defs, f"{path}.{name}")


def _sections(value: Schema, defs: Mapping[str, Schema]) -> list[Schema]:
    """The sections that a key may hold, but for those that have a table of their own elsewhere (by their kind)."""
    references = [form["$ref"] for form in (value, *value.get("anyOf", ())) if "$ref" in form]
    models = [defs[reference.removeprefix("#/$defs/")] for reference in references]
    return [model for model in models if (keys := model.get("properties")) and "const" not in keys.get("kind", {})]


def _rows(
    properties: Mapping[str, Schema], required: Sequence[str], defs: Mapping[str, Schema], *, links: bool = False
) -> Iterator[str]:
    yield "| key | value | default | |\n|---|---|---|---|"
    for name, value in properties.items():
        section = links and name in (*_SECTIONS, "space", "baselines", "limits", "search", "pruner")
        key = f"[`{name}`](#{name})" if section else f"`{name}`"
        kind = "a section" if section else _kind(value, defs)
        default = "required" if name in required else _default(value)
        about = value.get("description", "").replace("|", r"\|")
        yield f"| {key} | {kind} | {default} | {about} |".replace("  |", " |")
    yield ""


def _kind(value: Schema, defs: Mapping[str, Schema]) -> str:
    """What a value may be, in words: `whole number, ≥ 1`."""
    if "$ref" in value:
        model = _model(value, defs)
        kind = model.get("properties", {}).get("kind", {}).get("const")
        return f"`kind: {kind}`" if kind else "a section"
    if "enum" in value or "const" in value:
        return _listed(value.get("enum") or [value["const"]])
    if forms := value.get("anyOf") or value.get("oneOf"):
        kinds = [_kind(form, defs) for form in forms if form.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    kinds = value["type"] if isinstance(value["type"], list) else [value["type"]]
    return " or ".join(_plain_kind(kind, value, defs) for kind in kinds if kind != "null")


def _plain_kind(kind: str, value: Schema, defs: Mapping[str, Schema]) -> str:
    if kind == "array":
        return f"list of {_kind(value['items'], defs)}"
    if kind == "object":
        inner = value.get("additionalProperties")
        return f"mapping (each to {_kind(inner, defs)})" if isinstance(inner, dict) and "anyOf" in inner else "mapping"
    words = {"integer": "whole number", "number": "number", "boolean": "`true`, `false`", "string": "text"}
    word = "path" if value.get("format") == "path" else words[kind]
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {value[name]:,}".removesuffix(".0") for name, sign in signs.items() if name in value]
    return ", ".join([word, *bounds])


def _default(value: Schema) -> str:
    default = value.get("default")
    if default is None or default == "":
        return ""
    if isinstance(default, str):
        return f"`{default}`"
    return f"`{json.dumps(default, ensure_ascii=False)}`".replace('"', "")


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _model(value: Schema, defs: Mapping[str, Schema]) -> Schema:
    """The section that a schema stands for; one that may be left empty is its first form."""
    reference = next(form["$ref"] for form in (value, *value.get("anyOf", ())) if "$ref" in form)
    return defs[reference.removeprefix("#/$defs/")]
