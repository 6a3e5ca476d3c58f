"""How far along: a tqdm bar where somebody looks, nothing where nobody does."""

from __future__ import annotations

import sys
import time
from typing import Any, Protocol, Self

DELAY_S = 0.4  # what is over sooner shows no bar


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
    def __init__(self, total: int, label: str, unit: str) -> None:
        if in_kernel():
            from tqdm.auto import tqdm
        else:  # `tqdm.auto` brings asyncio along
            from tqdm import tqdm
        self._note, self._since = "", time.monotonic()
        self._tqdm: Any = tqdm(total=total, desc=label, unit=f" {unit}", delay=DELAY_S, dynamic_ncols=True)

    def update(self, n: int = 1) -> None:
        self._tqdm.update(n)

    def to(self, n: int, note: str = "") -> None:
        said, self._note = self._note, note
        self._tqdm.set_postfix_str(note, refresh=False)
        self._tqdm.update(n - self._tqdm.n)
        if note != said and time.monotonic() - self._since > DELAY_S:
            self._tqdm.refresh()  # `update` draws where the count has changed

    def close(self) -> None:
        self._tqdm.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
