"""What a person looks at: the panel's tab, filter, page and open job, as one frozen record."""

from __future__ import annotations

from typing import Any

from queuectl.errors import InvalidValue, expected
from queuectl.records import as_dict, names, record, replace
from queuectl.store.browse import ORDERS

TABS = ("jobs", "failures", "workers", "activity", "config")
SIZES = (25, 50, 100, 200)
WINDOWS_MS = {"1h": 3_600_000, "24h": 86_400_000, "7d": 604_800_000, "30d": 2_592_000_000, "all": 0}
INTERVALS_S = (1, 2, 5, 10, 30, 0)
STREAMS = ("stdout", "stderr")
LIMITS = {"query": 1000, "open": 64, "cause": 8, "worker": 64}


@record
class View:
    """Where the person is. Every field can be set from the browser, and is checked when it is.

    Attributes:
        key: place that the page goes on from, (sort value, seq); None is the beginning.
        back: whether the page lies before `key` instead of after it.
        interval: seconds between two looks for changes; 0 refreshes by hand only.
        open: id of the job whose drawer is open.
        run: number of the run whose output is shown; None is the latest.
        cause: signature of the cause that is opened.
        worker: id of the worker whose log is shown.
    """

    tab: str = "jobs"
    query: str = ""
    order: str = "newest"
    size: int = 25
    key: tuple[int, int] | None = None
    back: bool = False
    window: str = "24h"
    interval: int = 1
    open: str | None = None
    run: int | None = None
    stream: str = "stderr"
    cause: str | None = None
    worker: str | None = None
    before: int | None = None  # of the list of events

    def changed(self, patch: dict[str, Any]) -> View:
        """Return the view with some fields set; a new filter, order or size starts at the first page again.

        Raises:
            InvalidValue: an unknown field, or a value it does not take.
        """
        known = set(names(self))
        for name, value in patch.items():
            if name not in known:
                raise expected("view", "one of " + ", ".join(sorted(known)), name)
            _check(name, value)
        if isinstance(patch.get("key"), list):
            patch = patch | {"key": tuple(patch["key"])}
        if {"query", "order", "size"} & patch.keys() and "key" not in patch:
            patch = patch | {"key": None, "back": False}
        if "open" in patch and "run" not in patch:
            patch = patch | {"run": None}
        return replace(self, **patch)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, as JSON has them."""
        return as_dict(self) | {"key": list(self.key) if self.key else None}


_CHOICES: dict[str, tuple[Any, ...]] = {
    "tab": TABS, "order": tuple(ORDERS), "size": SIZES, "window": tuple(WINDOWS_MS), "interval": INTERVALS_S, "stream": STREAMS,
    "back": (True, False),
}  # fmt: skip


def _check(name: str, value: Any) -> None:
    if name in _CHOICES:
        if value not in _CHOICES[name] or isinstance(value, float):
            raise expected(f"view {name}", "one of " + ", ".join(map(str, _CHOICES[name])), value)
    elif name in LIMITS:
        if not (value is None and name != "query") and not (
            isinstance(value, str) and len(value) <= LIMITS[name]
        ):
            raise expected(f"view {name}", f"text of at most {LIMITS[name]} characters", value)
    elif name == "key":
        if value is not None and not (
            isinstance(value, (list, tuple)) and len(value) == 2 and all(_is_whole(v) for v in value)
        ):
            raise expected("view key", "two whole numbers", value)
    elif value is not None and not _is_whole(value):
        raise InvalidValue(f"view {name}: expected a whole number, got {value!r}")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 62
