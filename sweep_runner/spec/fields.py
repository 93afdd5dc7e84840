"""The trainable's config class, asked about one key at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError

from sweep_runner.spec.document import parse
from sweep_runner.spec.explain import reasons, shown
from sweep_runner.spec.model import SPACE_RESOURCES, Resources
from sweep_runner.spec.space import Choice, FloatRange, IntRange, Parameter, grid_values
from trainables.errors import TrainableError


@dataclass(frozen=True)
class Verdict:
    """What the config class says of one value.

    Attributes:
        value: the value for the spec: a whole number becomes a float where the field holds one, a path
            becomes absolute (trials run in other working directories).
        typed: the value as the config will hold it.
        wrong: empty, or what follows the key in a message: ` is 0: must be at least 1`.
        hint: the nearest valid spelling, if any.
    """

    value: Any
    typed: Any
    wrong: str = ""
    hint: str = ""


class Mismatch(Exception):
    """A range does not suit its field. `key` is the part of the range to point at; empty: all of it."""

    def __init__(self, message: str, key: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.key = key
        self.hint = hint


class ConfigFields:
    """The fields of a config class, and the keys of `resources` that may be in the space beside them."""

    def __init__(self, config_class: type[BaseModel]) -> None:
        self._class = config_class
        self.names: tuple[str, ...] = tuple(config_class.model_fields)
        self.open = config_class.model_config.get("extra") == "allow"
        self._adapters: dict[str, TypeAdapter[Any] | None] = {}

    def _owner(self, key: str) -> type[BaseModel]:
        """The model that knows what a key may be."""
        return Resources if key in SPACE_RESOURCES and key not in self._class.model_fields else self._class

    def __contains__(self, key: str) -> bool:
        return self.open or key in self._class.model_fields

    @property
    def required(self) -> tuple[str, ...]:
        """The fields without a default."""
        return tuple(name for name, field in self._class.model_fields.items() if field.is_required())

    def default(self, key: str) -> Any:
        """A field's default; None for a required one."""
        field = self._class.model_fields.get(key)
        return None if field is None or field.is_required() else field.get_default(call_default_factory=True)

    def check(self, key: str, value: Any) -> Verdict:
        """Holds one value against the type, the constraints and the validators of its field."""
        try:
            # The other fields keep their defaults; complaints about them are not this value's.
            self._owner(key).model_validate({key: value})
        except ValidationError as error:
            own = [details for details in error.errors(include_url=False) if details["loc"][:1] == (key,)]
            if own:
                return Verdict(value, value, *reasons(own, own[0]["input"]))
        except TrainableError as error:
            return Verdict(value, value, f": {error}")
        typed = self._typed(key, value)
        if isinstance(typed, Path) and isinstance(value, str):
            return Verdict(str(typed.absolute()), typed.absolute())
        if isinstance(value, str) and _is_local_file(value):
            path = str(Path(value).absolute())
            return Verdict(path, path if isinstance(typed, str) else typed)
        if (wanted := _other_kind(value, typed)) is not None:
            return Verdict(value, typed, f" is {shown(value)}: must be {wanted}")
        return Verdict(typed if isinstance(typed, float) and type(value) is int else value, typed)

    def suited(self, key: str, parameter: Parameter) -> Parameter:
        """A range as the field wants it: `{low: 0, high: 1}` is one of floats where the field holds floats.

        Raises:
            Mismatch: an end is no value of the field, or the field takes whole numbers and the range does not.
        """
        if isinstance(parameter, Choice):
            return parameter
        for end in ("low", "high"):
            verdict = self.check(key, getattr(parameter, end))
            if verdict.wrong:
                raise Mismatch(verdict.wrong, end, verdict.hint)
        low = self.check(key, parameter.low).typed
        if isinstance(parameter, IntRange):
            if isinstance(low, float):
                return FloatRange.model_validate({**dict(parameter), "when": parameter.when})
            self._second_value(key, parameter)
            return parameter
        if isinstance(low, float) or self._takes_fractions(key, parameter):
            return parameter
        bounds = {name: getattr(parameter, name) for name in ("low", "high", "step")}
        if all(bound is None or float(bound).is_integer() for bound in bounds.values()):
            whole = {name: None if bound is None else int(bound) for name, bound in bounds.items()}
            return IntRange.model_validate({**whole, "log": parameter.log, "when": parameter.when})
        raise Mismatch(": this range holds fractions, but the value must be a whole number")

    def _second_value(self, key: str, parameter: IntRange) -> None:
        # A field that takes multiples only shows it here.
        second = parameter.low + (parameter.step or 1)
        if second <= parameter.high and (wrong := self.check(key, second).wrong):
            raise Mismatch(f"{wrong} (the range includes it)", hint="Set step so that every value is valid.")

    def _takes_fractions(self, key: str, parameter: FloatRange) -> bool:
        if parameter.step is not None:
            values = grid_values(
                parameter.model_copy(update={"high": min(parameter.high, parameter.low + parameter.step)})
            )
            return all(not self.check(key, value).wrong for value in values or ()) and not all(
                float(value).is_integer() for value in values or () if isinstance(value, int | float)
            )
        inside = parameter.low + (parameter.high - parameter.low) * 0.381_966
        return not self.check(key, inside).wrong

    def _typed(self, key: str, value: Any) -> Any:
        adapter = self._adapter(key)
        if adapter is None:
            return value
        try:
            return adapter.validate_python(value)
        except ValidationError:  # a validator of the class, which the adapter lacks, would have made it fit
            return value

    def _adapter(self, key: str) -> TypeAdapter[Any] | None:
        if key not in self._adapters:
            field = self._owner(key).model_fields.get(key)
            annotation: Any = Any if field is None else field.annotation
            if field is not None and field.metadata:
                annotation = Annotated[(annotation, *field.metadata)]
            try:
                self._adapters[key] = TypeAdapter(annotation)
            except (PydanticUserError, PydanticSchemaGenerationError):  # a type that only the class knows to handle
                self._adapters[key] = None
        return self._adapters[key]


def _other_kind(value: Any, typed: Any) -> str | None:
    """What is wanted, if pydantic made a number of text or of true: helpful elsewhere, here a slip of the user."""
    if isinstance(typed, bool):
        as_written = isinstance(value, bool) or (isinstance(value, str) and not _reads_as_number_or_bool(value))
        return None if as_written else "true or false"
    if isinstance(typed, int | float):
        text_number = isinstance(value, str) and _reads_as_number_or_bool(value)
        wanted = "a whole number" if isinstance(typed, int) else "a number"
        return wanted if isinstance(value, bool) or text_number else None
    return None


def _reads_as_number_or_bool(text: str) -> bool:
    return isinstance(parse(text.strip() or "''", "").value, bool | int | float) if len(text) < 40 else False


def _is_local_file(text: str) -> bool:
    if "\x00" in text or len(text) > 4096 or not ("/" in text or Path(text).suffix):
        return False
    try:
        return Path(text).is_file()
    except OSError:
        return False
