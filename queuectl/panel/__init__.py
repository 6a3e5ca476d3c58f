"""The control panel: see the queue, find why jobs fail, repair them, with every click also a line of Python.

widget   ┐ thin views         live         one thread that looks for changes
basic    ┘                    snapshot     what a saved notebook shows
controller   what is looked at, what was clicked
acts · reads · filters · view · code
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from queuectl.panel.basic import BasicPanel
    from queuectl.panel.widget import Panel


def panel(queue: Any, *, basic: bool = False, read_only: bool = False) -> Panel | BasicPanel:
    """Return the control panel of a queue; in one kernel the same one each time.

    Args:
        queue: a `Queue`.
        basic: use stock ipywidgets only, for front ends that refuse other widgets.
        read_only: look, but change nothing.
    """
    path, kind = queue.path, type(queue)

    def open_queue() -> Any:
        opened = kind(path)
        opened._actor = "panel"  # the history says who did it
        return opened

    if basic:
        from queuectl.panel.basic import basic_panel_of

        return basic_panel_of(path, open_queue, read_only=read_only)
    from queuectl.panel.widget import panel_of

    def frame_of(ids: list[str]) -> Any:
        with closing(open_queue()) as opened:
            return opened.jobs(ids=ids)

    return panel_of(
        path, open_queue, read_only=read_only, frame_of=frame_of if hasattr(queue, "jobs") else None
    )
