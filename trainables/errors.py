"""Errors for the user: their text is shown as it is, without a traceback."""

from __future__ import annotations


class TrainableError(Exception):
    """Base of the errors below. The message says what was wrong, the rule, and what to do."""


class DataError(TrainableError):
    """The data cannot be used as asked: missing, unreadable, one class only, ..."""


class Diverged(TrainableError):
    """The loss became NaN or infinite. The trial ends as FAILED with reason `diverged` and is not retried."""


class Infeasible(TrainableError):
    """The configuration cannot fit in memory even at micro-batch 1. The trial ends as INFEASIBLE, not retried."""


class ContractBroken(TrainableError):
    """The trainable did not keep to its contract, such as a report without the objective. Not retried."""


class WeightsError(DataError):
    """Pretrained weights cannot be had, cannot be read, or are of another model."""


class NotExportable(TrainableError):
    """The model has no ONNX translation. Nothing is wrong with the trained model itself."""
