"""The JSON Schema of the sweep file: the models, the short forms, and the keys of the built-in trainables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from sweep_runner.spec.model import SPACE_RESOURCES, SweepSpec
from sweep_runner.spec.strategies import SAMPLERS
from trainables.contract import Trainable
from trainables.loading import BUILT_IN, load_trainable

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SCALAR: dict[str, Any] = {"type": ["boolean", "number", "string", "null"]}
_VALIDATION: Literal["validation"] = "validation"

Schema = dict[str, Any]


def sweep_schema() -> Schema:
    """The JSON Schema of a sweep file, for editors.

    The keys under `fixed`, `space`, `baselines` and `data` are those of the built-in trainable that the file
    names; with a trainable of the user's own, any key goes.
    """
    built_in = {name: load_trainable(name) for name in BUILT_IN}
    models: list[type[BaseModel]] = [SweepSpec, *(each.options for each in SAMPLERS.values())]
    for trainable in built_in.values():
        models += [trainable.config_class, trainable.data_class]
    # One call for all, so that models of the same name get different names in $defs.
    keys, definitions = models_json_schema([(model, _VALIDATION) for model in dict.fromkeys(models)])
    defs: dict[str, Schema] = definitions["$defs"]
    of = {model: _follow(keys[model, _VALIDATION], defs) for model in dict.fromkeys(models)}

    schema = dict(of[SweepSpec])
    properties = dict(schema["properties"])
    properties["space"] = _about(properties["space"], {"type": "object", "additionalProperties": parameter_schema()})
    properties["baselines"] = _about(
        properties["baselines"], {"type": "object", "additionalProperties": {"type": "object"}}
    )
    kinds = _follow(properties["pruner"], defs)["oneOf"]
    names = [_follow(kind, defs)["properties"]["kind"]["const"] for kind in kinds]
    short = {"enum": names, "description": "The pruner with its defaults."}
    properties["pruner"] = {"description": "Which trials stop early.", "anyOf": [short, *kinds]}
    properties["search"] = _search(_follow(properties["search"], defs), of)
    properties["trainable"] = _about(
        properties["trainable"],
        {"anyOf": [{"enum": list(BUILT_IN)}, {"type": "string", "pattern": "^[^:]+:[^:]+$"}]},
    )
    goal = _follow(properties["objective"], defs)["properties"]["also"]["items"]
    short_goal: Schema = {"type": "string", "description": "A metric."}
    properties["objective"] = {
        "description": _follow(properties["objective"], defs).get("description", ""),
        "anyOf": [
            properties["objective"],
            short_goal,
            {
                "type": "array",
                "minItems": 1,
                "maxItems": 4,
                "items": {"anyOf": [short_goal, goal]},
                "description": "Several objectives; the first one decides if necessary.",
            },
        ],
    }
    limit = properties["limits"]["additionalProperties"]
    properties["limits"] = {
        **properties["limits"],
        "additionalProperties": {"anyOf": [{"type": ["number", "string"], "description": "The most."}, limit]},
    }
    for name in (
        "data",
        "space",
        "fixed",
        "baselines",
        "objective",
        "limits",
        "pruner",
        "resources",
        "cluster",
        "keep",
        "export",
        "notify",
        "search",
    ):
        # A section that is written and left empty counts as left out.
        description = _follow(properties[name], defs).get("description", "")
        properties[name] = {"description": description, **_or_null(properties[name])}
    resources = _follow(of[SweepSpec]["properties"]["resources"], defs)["properties"]
    beside = {
        key: {name: part for name, part in resources[key].items() if name != "default"} for key in SPACE_RESOURCES
    }
    schema["properties"] = properties
    schema["allOf"] = [_for_trainable(name, trainable, of, beside) for name, trainable in built_in.items()]
    schema.pop("description", None)
    shared = {name: part for name, part in defs.items() if name not in ("Choice", "FloatRange", "IntRange")}
    shared |= {"When": _WHEN, "Range": _RANGE}
    return {"$schema": _DIALECT, **schema, "title": "Sweep file", "$defs": shared}


def parameter_schema(value: Schema | None = None, description: str = "") -> Schema:
    """One entry of the space: a list, a single value, `{values: …}` or `{low: …, high: …}`, with or without `when`.

    Args:
        value: the schema of a single value, such as the config field's.
        description: what the parameter is.
    """
    value = {key: item for key, item in (value or _SCALAR).items() if key not in ("default", "title", "description")}
    values = {"type": "array", "items": value, "minItems": 1, "description": "One of these values."}
    choice = {
        "type": "object",
        "properties": {"values": values, "when": {"$ref": "#/$defs/When"}},
        "required": ["values"],
        "additionalProperties": False,
    }
    forms = [values, value, choice, {"$ref": "#/$defs/Range"}]
    return {"description": description, "anyOf": forms} if description else {"anyOf": forms}


_WHEN: Schema = {
    "type": "object",
    "description": "The parameter exists only if each named parameter has this value, or one of these.",
    "additionalProperties": {"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR, "minItems": 1}]},
}
_RANGE: Schema = {
    "type": "object",
    "properties": {
        "low": {"type": "number", "description": "The smallest value."},
        "high": {"type": "number", "description": "The largest value, included."},
        "log": {"type": "boolean", "default": False, "description": "Spread evenly over orders of magnitude."},
        "step": {"type": ["number", "null"], "description": "Only low, low + step, low + 2 steps, …"},
        "when": {"$ref": "#/$defs/When"},
    },
    "required": ["low", "high"],
    "additionalProperties": False,
}


def _for_trainable(
    name: str, trainable: type[Trainable[Any, Any]], of: Mapping[type[BaseModel], Schema], beside: dict[str, Schema]
) -> Schema:
    """What holds if the file names this trainable (the default one is meant, too, when it names none).

    Args:
        name: of the trainable.
        trainable: its class.
        of: the schemas of the models.
        beside: of the keys that may be in the space and are none of the trainable's.
    """
    fields: dict[str, Schema] = of[trainable.config_class]["properties"]
    data = of[trainable.data_class]
    space = {key: parameter_schema(field, field.get("description", "")) for key, field in (fields | beside).items()}
    closed = {"type": ["object", "null"], "additionalProperties": False}
    metrics = list(trainable.metrics)
    then: Schema = {
        "properties": {
            "fixed": {**closed, "properties": fields},
            "space": {**closed, "properties": space},
            "baselines": {"additionalProperties": {**closed, "properties": fields | beside}},
            "data": {**closed, "properties": data.get("properties", {}), "required": data.get("required", [])},
            **({"objective": _of_metrics(metrics, trainable.facts)} if metrics else {}),
            "limits": {"propertyNames": {"enum": list(trainable.facts)}},
        }
    }
    named: Schema = {"properties": {"trainable": {"const": name}}}
    if name != SweepSpec.model_fields["trainable"].default:
        named["required"] = ["trainable"]
    return {"if": named, "then": then}


def _of_metrics(metrics: Sequence[str], facts: Iterable[str]) -> Schema:
    """An objective of a trainable, in each of its forms: a mapping, a name, a list of both."""
    further = {"enum": [*metrics, *facts]}
    return {
        "properties": {"metric": {"enum": metrics}},
        "if": {"type": "string"},
        "then": {"enum": metrics},
        "items": {"if": {"type": "string"}, "then": further, "else": {"properties": {"metric": further}}},
    }


def _search(search: Schema, of: Mapping[type[BaseModel], Schema]) -> Schema:
    """The search section, with the options of the sampler that it names."""
    default = search["properties"]["sampler"].get("default")
    rules = []
    for sampler, choice in SAMPLERS.items():
        options = choice.options
        named: Schema = {"properties": {"sampler": {"const": sampler}}}
        if sampler != default:
            named["required"] = ["sampler"]
        rules.append({"if": named, "then": {"properties": {"options": of[options]}}})
    return {**search, "allOf": rules}


def _follow(schema: Schema, defs: Mapping[str, Schema]) -> Schema:
    """The schema that a reference stands for, its neighbours kept."""
    reference = schema.get("$ref")
    if reference is None:
        return schema
    neighbours = {key: value for key, value in schema.items() if key != "$ref"}
    return {**defs[reference.removeprefix("#/$defs/")], **neighbours}


def _about(old: Schema, new: Schema) -> Schema:
    """`new` with the description and the default of `old`."""
    return {**{key: old[key] for key in ("description", "default") if key in old}, **new}


def _or_null(schema: Schema) -> Schema:
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    if "type" in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}
