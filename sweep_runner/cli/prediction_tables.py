"""How a table of predictions is cut and shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa


def top_classes(table: pa.Table, classes: Sequence[str], num_top: int) -> pa.Table:
    """Replaces the columns `p_<class>` by `class_1`, `probability_1`, …, most probable first.

    With one class an example, `predicted` and `probability` go, too: they would be `class_1` a second time.

    Args:
        table: as `predictions_schema` says.
        classes: of the model.
        num_top: how many; all classes if there are fewer.
    """
    num_top = min(num_top, len(classes))
    probabilities = np.stack([table[f"p_{name}"].to_numpy().astype(np.float32) for name in classes], axis=1)
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :num_top]
    missing = np.isnan(probabilities[:, 0]) if len(table) else np.zeros(0, dtype=bool)
    # Of a class each, the prediction is class_1; labels are those above their thresholds, however many.
    single = pa.types.is_string(table.schema.field("predicted").type)
    result = table.select(["path"] if single else ["path", "predicted", "probability"])
    names = np.array(classes, dtype=object)
    for rank in range(num_top):
        values = np.take_along_axis(probabilities, order[:, rank : rank + 1], axis=1)[:, 0]
        result = result.append_column(f"class_{rank + 1}", pa.array(names[order[:, rank]], pa.string(), mask=missing))
        result = result.append_column(f"probability_{rank + 1}", pa.array(values, pa.float32(), mask=missing))
    return result.append_column("error", table["error"])


def for_terminal(table: pa.Table, classes: Sequence[str]) -> pa.Table:
    """The table without the columns of each class, which would not fit, and without an empty column of errors.

    Args:
        table: as `predictions_schema` says, or from `top_classes`.
        classes: of the model.
    """
    hidden = {f"p_{name}" for name in classes}
    if table["error"].null_count == len(table):
        hidden.add("error")
    return table.select([name for name in table.column_names if name not in hidden])


def for_text(table: pa.Table) -> pa.Table:
    """The table with floats that print as short as float32 is: 0.1, not 0.10000000149."""
    for position, field in enumerate(table.schema):
        if pa.types.is_float32(field.type):
            values = table.column(position).to_pylist()
            short = [None if value is None else float(str(np.float32(value))) for value in values]
            table = table.set_column(position, field.name, pa.array(short, pa.float64()))
    return table
