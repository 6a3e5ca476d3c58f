"""The panel in a notebook: a thin view. It carries the controller's state to the browser and the browser's messages back."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import os
import re
import threading
from collections.abc import Callable
from importlib import resources
from typing import TYPE_CHECKING, Any
from weakref import ref

import anywidget
import traitlets

from queuectl.panel.controller import SHOWN, Controller
from queuectl.panel.live import REFRESHER
from queuectl.panel.snapshot import snapshot_html

if TYPE_CHECKING:
    import pandas as pd

# In the order of their needs: what a module imports comes before it.
MODULES = (
    "dom",
    "ansi",
    "charts",
    "confirm",
    "keys",
    "header",
    "grid",
    "drawer",
    "jobs",
    "failures",
    "workers",
    "activity",
    "config",
    "panel",
)
_IMPORT = re.compile(r"^import [^;]*;\n", re.M)
_EXPORT = re.compile(r"^export (?!default)", re.M)


@functools.cache
def source() -> str:
    """Return the ES modules as one, for the front end loads a single text: their imports dropped, their names kept."""
    folder = resources.files("queuectl.panel") / "static"
    parts = []
    for name in MODULES:
        text = (folder / f"{name}.js").read_text(encoding="utf-8")
        parts.append(f"// {name}.js\n" + _EXPORT.sub("", _IMPORT.sub("", text)))
    return "\n".join(parts)


@functools.cache
def style() -> str:
    """Return the style sheet."""
    return (resources.files("queuectl.panel") / "static" / "panel.css").read_text(encoding="utf-8")


class Panel(anywidget.AnyWidget):
    """The control panel of one queue; see `Queue.panel`.

    Attributes:
        selected: the selected jobs as a DataFrame.
    """

    _esm = traitlets.Unicode("").tag(sync=True)
    _css = traitlets.Unicode("").tag(sync=True)
    head = traitlets.Dict().tag(sync=True)
    body = traitlets.Dict().tag(sync=True)
    detail = traitlets.Dict().tag(sync=True)
    output = traitlets.Dict().tag(sync=True)
    notice = traitlets.Dict().tag(sync=True)
    view = traitlets.Dict().tag(sync=True)
    picked: traitlets.List[str] = traitlets.List(traitlets.Unicode()).tag(sync=True)
    picked_all = traitlets.Bool(False).tag(sync=True)

    def __init__(
        self, controller: Controller, *, frame_of: Callable[[list[str]], pd.DataFrame] | None = None
    ) -> None:
        self._controller = controller
        self._frame_of = frame_of
        super().__init__(_esm=source(), _css=style())
        controller.on_change = _push_to(self)
        controller.refresh()
        self._push(frozenset(_TRAITS) | {"view"})
        self.on_msg(_receive)
        self.observe(_pick, ["picked", "picked_all"])

    # --- for Python ---

    @property
    def selected(self) -> pd.DataFrame:
        """The selected jobs, as `q.jobs` gives them; all that the filter matches when 'Select all' was chosen."""
        ids = self._controller.selected_ids()
        if self._frame_of is not None:
            return self._frame_of(ids)
        import pandas as pd

        return pd.DataFrame({"id": pd.Series(ids, dtype="str")}).set_index("id")

    def ids(self, query: str) -> list[str]:
        """Return the ids of all jobs that a filter such as `state:dead cmd:curl` matches now, oldest first."""
        return self._controller.ids(query)

    @property
    def read_only(self) -> bool:
        """Whether the panel refuses every change."""
        return self._controller.read_only

    def look(self, **view: Any) -> Panel:
        """Show something: `tab="failures"`, `query="state:dead"`, `open=job.id`; return the panel.

        Raises:
            InvalidValue: no such part of the view, or not a value for it.
        """
        self._controller.look(view)
        return self

    def refresh(self) -> None:
        """Read everything anew."""
        self._controller.refresh()

    # --- what the refresher needs ---

    @property
    def path(self) -> str:
        """The database."""
        return self._controller.path

    def is_watched(self) -> bool:
        """Whether anybody sees the panel."""
        return self._controller.is_watched()

    def extend(self, seconds: float) -> None:
        """Lengthen the viewers' leases."""
        self._controller.extend(seconds)

    def interval_s(self) -> int:
        """Seconds between two looks; 0 for none."""
        return self._controller.view.interval

    def tick(self) -> None:
        """Refresh, for the database has changed."""
        self._controller.tick()

    def follow(self) -> None:
        """Read on in the open output."""
        self._controller.follow()

    def pulse(self) -> None:
        """Tell the browser that the refresher lives."""
        self.send({"kind": "pulse"})

    # --- between the two ---

    def _push(self, names: frozenset[str]) -> None:
        with self._controller.lock, self.hold_trait_notifications():
            for name in names:
                match name:
                    case "view":
                        self.view = self._controller.view.as_dict()
                    case "picked" | "picked_all":
                        setattr(self, name, getattr(self._controller, name))
                    case _:
                        setattr(self, _TRAITS[name], getattr(self._controller, name))

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle = super()._repr_mimebundle_(**kwargs)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        if data is not None:
            # What a saved notebook shows where no kernel is.
            data["text/html"] = snapshot_html(self._controller.head, self._controller.body)
            data["text/plain"] = repr(self)
            # Whoever shows it will look: the cell after this one may keep the kernel too busy to hear so.
            self._controller.lease(SHOWN, True)
            watch(self)
        return bundle

    def __repr__(self) -> str:
        return f"<Panel of {self._controller.path}{', read-only' if self.read_only else ''}>"

    def close(self) -> None:
        """Take the panel away; the queue and its workers go on."""
        REFRESHER.remove(self)
        for key in [k for k, v in _PANELS.items() if v is self]:
            del _PANELS[key]
        layout = self.layout
        super().close()
        layout.close()


_TRAITS = {"head": "head", "body": "body", "detail": "detail", "log": "output", "notice": "notice"}
_PANELS: dict[tuple[str, bool, int], Panel] = {}


def _push_to(panel: Panel) -> Callable[[frozenset[str]], None]:
    weak = ref(panel)

    def push(names: frozenset[str]) -> None:
        if (found := weak()) is not None:
            found._push(names)

    return push


def watch(panel: Panel) -> None:
    """Have the refresher look after a panel, and let it know the loop of this kernel."""
    if threading.current_thread() is threading.main_thread():
        with contextlib.suppress(RuntimeError):
            REFRESHER.kernel.loop = asyncio.get_running_loop()
    REFRESHER.add(panel)


def _receive(panel: Panel, message: Any, _buffers: Any) -> None:
    if not isinstance(message, dict):
        return
    answer = panel._controller.handle(message)
    if message.get("kind") == "lease" and message.get("on"):
        watch(panel)
        panel.pulse()
    if message.get("rid") is not None:
        panel.send({"kind": "reply", **answer})


def _pick(change: Any) -> None:
    panel: Panel = change["owner"]
    with panel._controller.lock:
        panel._controller.picked = [str(i) for i in panel.picked]
        panel._controller.picked_all = panel.picked_all


def panel_of(
    path: str,
    open_queue: Callable[[], Any],
    *,
    read_only: bool = False,
    frame_of: Callable[[list[str]], pd.DataFrame] | None = None,
) -> Panel:
    """Return the panel of a queue; in one kernel the same one each time, so that a cell run again leaves nothing behind."""
    key = (path, read_only, os.getpid())
    found = _PANELS.get(key)
    if found is None:
        found = _PANELS[key] = Panel(Controller(path, open_queue, read_only=read_only), frame_of=frame_of)
    else:
        found.refresh()
    return found


@atexit.register
def _forget() -> None:
    _PANELS.clear()
