"""Share of failing runs over time, with its interval."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from queuectl.analysis._intervals import normal_quantile, share, wilson
from queuectl.analysis._rows import NAT, bucket_length, column, count, ends, group, known_at
from queuectl.analysis._tables import ranked, table

_RATE = {"n": "int64", "failed": "int64", "rate": "float64", "lo": "float64", "hi": "float64"}


def failure_rate(
    runs: pd.DataFrame, freq: object, by: str | Iterable[str] | None = None, *, confidence: float = 0.95
) -> pd.DataFrame:
    """How large a share of the runs failed, per bucket of time.

    failed, timeout, killed and spawn are failures; lost, cancelled and snoozed runs are not counted at all. A
    run belongs to the bucket in which it ended. Buckets without a run have no row.

    Args:
        runs: DataFrame, one row per run, any subset.
        freq: length of a bucket: "15min", "1h", "1D", or a Timedelta. Buckets begin at multiples of it since
            1970-01-01 00:00 UTC.
        by: a column, or several, to tell apart within each bucket.
        confidence: of the interval lo to hi.

    Returns:
        ts (begin of the bucket), the columns of `by`, n, failed, rate = failed/n, lo and hi (Wilson); in
        order of time, then of `by`.

    Raises:
        InvalidValue: `freq` is not a fixed length, or a column is missing.
    """
    z, step = normal_quantile(confidence), bucket_length(freq)
    at, (succeeded, failed) = known_at(runs), ends(runs)
    counted = (succeeded | failed) & (at != NAT)
    names = [by] if isinstance(by, str) else list(by or ())
    bucket = pd.Series((at[counted] // step * step).view("datetime64[ms]"))
    parts = {name: column(runs, name)[counted].reset_index(drop=True) for name in names}
    rows = pd.DataFrame({"ts": bucket, **parts})
    cells = group(rows, ["ts", *names])
    n = count(cells.codes, cells.count)
    failures = np.bincount(cells.codes, weights=failed[counted], minlength=cells.count).astype(np.int64)
    lo, hi = wilson(failures, n, z)
    keys = dict(cells.keys)
    keys["ts"] = keys["ts"].astype("datetime64[ms]").dt.tz_localize("UTC")
    values = {"n": n, "failed": failures, "rate": share(failures, n), "lo": lo, "hi": hi}
    return ranked(table(keys, _RATE, values), down=[], then=["ts", *names])
