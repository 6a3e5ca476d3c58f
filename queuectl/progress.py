"""How far along: a tqdm bar where somebody looks, nothing where nobody does."""

from __future__ import annotations

import importlib
import sys
import time
from typing import Any, Protocol, Self

DELAY_S = 0.4  # what is over sooner shows no bar
REFRESH_S = 0.1


class Bar(Protocol):
    """What a bar can do; closing it twice is allowed."""

    def update(self, n: int = 1) -> None:
        """Go on by n."""

    def to(self, n: int, note: str = "") -> None:
        """Go to n, and say something beside it."""

    def close(self) -> None:
        """Leave it as it is."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


def bar(total: int, *, label: str, unit: str = "job", shown: bool | None = None) -> Bar:
    """Return a progress bar on standard error, or in a notebook a widget; tqdm is imported only when one is shown.

    Args:
        total: what 100 % is.
        label: what is going on, such as `waiting`.
        unit: what is counted.
        shown: None for wherever a person looks: a terminal or a notebook.
    """
    if not (is_looked_at() if shown is None else shown):
        return _Nothing()
    return _Shown(total, label, unit)


def is_looked_at() -> bool:
    """Whether standard error is a terminal, or this is a notebook's kernel."""
    return in_kernel() or bool(sys.stderr and sys.stderr.isatty())


def in_kernel() -> bool:
    """Whether this process is the kernel of a notebook."""
    found = sys.modules.get("IPython")
    shell: Any = found.get_ipython() if found is not None and hasattr(found, "get_ipython") else None
    return getattr(shell, "kernel", None) is not None


class _Nothing:
    def update(self, n: int = 1) -> None: ...
    def to(self, n: int, note: str = "") -> None: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


class _Shown:
    """A bar that comes when its work has taken `DELAY_S`; only then is tqdm imported."""

    def __init__(self, total: int, label: str, unit: str) -> None:
        self._options = {"total": total, "desc": label, "unit": f" {unit}", "dynamic_ncols": True}
        self._n, self._note = 0, ""
        self._born = self._drawn = time.monotonic()
        self._tqdm: Any = None

    def update(self, n: int = 1) -> None:
        self._n += n
        if time.monotonic() - self._drawn >= (REFRESH_S if self._tqdm else DELAY_S):
            self._draw()

    def to(self, n: int, note: str = "") -> None:
        is_news, self._note = note != self._note, note
        self.update(n - self._n)
        if is_news and self._tqdm:
            self._draw()

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        if self._tqdm is None:
            # `tqdm.auto` brings asyncio along.
            make: Any = importlib.import_module("tqdm.auto" if in_kernel() else "tqdm").tqdm
            self._tqdm = make(**self._options)
            self._tqdm.start_t -= self._drawn - self._born
        self._tqdm.n = self._n
        self._tqdm.set_postfix_str(self._note, refresh=False)
        self._tqdm.refresh()

    def close(self) -> None:
        if self._tqdm:
            self._draw()
            self._tqdm.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
