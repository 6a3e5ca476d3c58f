"""Result tables with dtypes that do not depend on the data."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from queuectl.analysis._rows import Ints

MOMENT = "datetime64[ms, UTC]"
LENGTH = "timedelta64[ms]"


def table(
    keys: Mapping[str, "pd.Series[Any]"], schema: Mapping[str, Any], values: Mapping[str, Any]
) -> pd.DataFrame:
    """A DataFrame of key columns, then the schema's columns in the schema's order and dtypes.

    Args:
        keys: columns that keep their dtype.
        schema: dtype by column.
        values: arrays by column; MOMENT and LENGTH columns as integer milliseconds with NAT.
    """
    columns: dict[str, pd.Series[Any]] = dict(keys)
    for name, dtype in schema.items():
        columns[name] = _typed(values[name], dtype)
    return pd.DataFrame(columns)


def _typed(values: Any, dtype: Any) -> "pd.Series[Any]":
    series: pd.Series[Any]
    match dtype:
        case "datetime64[ms, UTC]":
            return pd.Series(_ints(values).view("datetime64[ms]")).dt.tz_localize("UTC")
        case "timedelta64[ms]":
            return pd.Series(_ints(values).view("timedelta64[ms]"))
        case _:
            series = pd.Series(values, dtype=dtype)
            return series


def _ints(values: Any) -> Ints:
    return np.ascontiguousarray(values, np.int64)


def ranked(frame: pd.DataFrame, *, down: Sequence[str], then: Sequence[str] = ()) -> pd.DataFrame:
    """Rows by `down` from large to small, ties by `then` from small to large, however they came in."""
    columns = [*down, *then]
    if not columns:
        return frame
    falling = [False] * len(down) + [True] * len(then)
    return frame.sort_values(columns, ascending=falling, kind="stable", ignore_index=True)
