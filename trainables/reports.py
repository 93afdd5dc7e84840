"""The rules for what a report may hold: what the sweep's tables can store."""

from __future__ import annotations

import operator
from typing import Any

from trainables.contract import EpochReport
from trainables.errors import ContractBroken
from trainables.outcomes import unpacked

WHOLE_NUMBERS = ("num_parameters", "peak_memory_bytes")
"""Metrics that the tables hold as 64-bit integers."""
_LIMIT = 2**63
_MOST_CHARACTERS = 2_000


def checked(report: EpochReport, who: str) -> EpochReport:
    """The report in plain ints, floats and strings, as it can be sent and stored.

    Args:
        report: as a trainable made it.
        who: names the trainable in messages.

    Raises:
        ContractBroken: something in it is not a number, is too large, or has a name that is not text.
    """
    epoch = _epoch(report.epoch, who)
    metrics = {_name(name, who, epoch): _number(name, value, who, epoch) for name, value in report.metrics.items()}
    return EpochReport(epoch, metrics, _outcomes(report.outcomes, who, epoch))


def _outcomes(outcomes: Any, who: str, epoch: int) -> str:
    if outcomes == "" or outcomes is None:
        return ""
    try:
        if not isinstance(outcomes, str):
            raise ValueError(f"outcomes of type {type(outcomes).__name__}: a text of trainables.outcomes.packed is due")
        unpacked(outcomes)
    except ValueError as error:
        raise ContractBroken(f"{who} reported {error} (epoch {epoch})") from None
    return outcomes


def _epoch(epoch: Any, who: str) -> int:
    try:
        return int(epoch) if isinstance(epoch, float) and epoch.is_integer() else operator.index(epoch)
    except TypeError:
        raise ContractBroken(f"{who} reported epoch {epoch!r}: not a whole number") from None


def _name(name: Any, who: str, epoch: int) -> str:
    if not isinstance(name, str):
        raise ContractBroken(f"{who} reported a metric named {name!r} in epoch {epoch}: a name is text")
    if not name or "\0" in name:
        raise ContractBroken(f"{who} reported a metric named {name!r} in epoch {epoch}: SQL could not name it")
    try:
        name.encode()
    except UnicodeEncodeError:
        message = (
            f"{who} reported a metric named {name!r} in epoch {epoch}: a name is text in UTF-8, without surrogates"
        )
        raise ContractBroken(message) from None
    return str(name)


def _number(name: str, value: Any, who: str, epoch: int) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        kind = type(value).__name__
        raise ContractBroken(f"{who} reported {name} = {value!r} ({kind}) in epoch {epoch}: not a number")
    if isinstance(value, float) and name not in WHOLE_NUMBERS:
        return float(value)
    if -_LIMIT < value < _LIMIT:
        return int(value) if isinstance(value, int) else float(value)
    if name in WHOLE_NUMBERS:
        if isinstance(value, float) and value * 0 != 0:
            return float(value)  # NaN or infinite: not known
        raise ContractBroken(f"{who} reported {name} = {_short(value)} in epoch {epoch}: 2⁶³ or more cannot be stored")
    try:
        return float(value)
    except OverflowError:
        message = f"{who} reported {name} = {_short(value)} in epoch {epoch}: more than a float holds (1.8e308)"
        raise ContractBroken(message) from None


def _short(value: int | float) -> str:
    """Python refuses to print integers of more than 4,300 digits."""
    if isinstance(value, int) and value.bit_length() > 256:
        return f"an integer of {value.bit_length():,} bits"
    return repr(value)


def readable(text: str) -> str:
    """Text that can be stored and shown: what is no Unicode is written as an escape."""
    return text.encode("utf-8", "backslashreplace").decode()


def shortened(text: str) -> str:
    """A reason as it can be stored and shown, of at most 2,000 characters."""
    text = readable(text)
    if len(text) <= _MOST_CHARACTERS:
        return text
    return f"{text[:_MOST_CHARACTERS]} … ({len(text):,} characters; the trial's error.txt has all of them)"
