"""Failure analysis: DataFrame in, DataFrame out.

Every function takes a frame of runs (or of jobs), any subset of its rows, leaves it alone and returns a small
table whose dtypes do not depend on the data; each has a `plot_…` companion that takes the same arguments and
returns a matplotlib Axes (extra `[plot]`). Formulas and sources: `docs/analysis.md`.

    from queuectl import analysis

    analysis.error_groups(runs, since="24h")
    analysis.plot_failure_rate(runs, "1h", by="command")

Importing this package imports neither pandas nor matplotlib.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from queuectl.analysis._causes import compare as compare
    from queuectl.analysis._causes import error_groups as error_groups
    from queuectl.analysis._causes import split_at as split_at
    from queuectl.analysis._plots import plot_by_worker as plot_by_worker
    from queuectl.analysis._plots import plot_compare as plot_compare
    from queuectl.analysis._plots import plot_durations as plot_durations
    from queuectl.analysis._plots import plot_error_groups as plot_error_groups
    from queuectl.analysis._plots import plot_failure_heat as plot_failure_heat
    from queuectl.analysis._plots import plot_failure_rate as plot_failure_rate
    from queuectl.analysis._plots import plot_waits as plot_waits
    from queuectl.analysis._rates import failure_rate as failure_rate
    from queuectl.analysis._retries import flakiness as flakiness
    from queuectl.analysis._retries import retries_to_success as retries_to_success
    from queuectl.analysis._retries import what_if_retries as what_if_retries
    from queuectl.analysis._retry_plots import plot_flakiness as plot_flakiness
    from queuectl.analysis._retry_plots import plot_recovery as plot_recovery
    from queuectl.analysis._retry_plots import plot_retries_to_success as plot_retries_to_success
    from queuectl.analysis._retry_plots import plot_what_if_retries as plot_what_if_retries
    from queuectl.analysis._survival import recovery as recovery
    from queuectl.analysis._survival import recovery_summary as recovery_summary
    from queuectl.analysis._times import durations as durations
    from queuectl.analysis._times import waits as waits
    from queuectl.analysis._workers import by_worker as by_worker

_HOME = {
    "compare": "_causes",
    "error_groups": "_causes",
    "split_at": "_causes",
    "failure_rate": "_rates",
    "durations": "_times",
    "waits": "_times",
    "flakiness": "_retries",
    "retries_to_success": "_retries",
    "what_if_retries": "_retries",
    "recovery": "_survival",
    "recovery_summary": "_survival",
    "by_worker": "_workers",
    "plot_by_worker": "_plots",
    "plot_compare": "_plots",
    "plot_durations": "_plots",
    "plot_error_groups": "_plots",
    "plot_failure_heat": "_plots",
    "plot_failure_rate": "_plots",
    "plot_flakiness": "_retry_plots",
    "plot_recovery": "_retry_plots",
    "plot_retries_to_success": "_retry_plots",
    "plot_waits": "_plots",
    "plot_what_if_retries": "_retry_plots",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
