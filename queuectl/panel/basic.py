"""The panel on stock ipywidgets, for front ends that refuse others: filter, page, log, and the verbs, from the same controller.

The table is one `HTML` widget, every text in it escaped; rows are chosen by id in a list. It refreshes when asked to.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import ipywidgets as w

from queuectl.display import escape_html, escape_terminal
from queuectl.panel.controller import Controller
from queuectl.panel.view import SIZES

_CELL = "padding:1px 10px 1px 0;text-align:left;white-space:nowrap"
_VERBS = (("retry", "Retry"), ("bump", "Move to the front"), ("cancel", "Cancel"), ("delete", "Delete"))


class BasicPanel(w.VBox):  # type: ignore[misc]
    """The stock panel of one queue; see `Queue.panel`."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._armed: tuple[str, tuple[str, ...]] | None = None
        self._counts, self._table, self._said = w.HTML(), w.HTML(), w.HTML()
        self._filter = w.Text(
            placeholder="state:dead cmd:curl exit:7 age:<1h",
            description="Filter",
            continuous_update=False,
            layout={"width": "60%"},
        )
        self._size = w.Dropdown(options=SIZES, value=controller.view.size, description="Rows")
        self._choice = w.SelectMultiple(options=(), rows=6, description="Jobs", layout={"width": "60%"})
        self._output = w.Output(layout={"max_height": "16em", "overflow": "auto"})
        self._command = w.Text(placeholder="echo Hello World", description="Command", layout={"width": "60%"})
        super().__init__(self._rows(controller.read_only))
        self._filter.observe(lambda c: self._look(query=c["new"]), "value")
        self._size.observe(lambda c: self._look(size=c["new"]), "value")
        self._choice.observe(self._chosen, "value")
        controller.refresh()
        self._draw()

    def _rows(self, read_only: bool) -> list[w.Widget]:
        turn = w.HBox(
            [
                _button("Refresh", lambda: self._send("poke")),
                _button("Newer", lambda: self._turn(back=True)),
                _button("Older", lambda: self._turn(back=False)),
            ]
        )
        rows: list[w.Widget] = [
            self._counts,
            w.HBox([self._filter, self._size]),
            self._table,
            turn,
            self._choice,
        ]
        if not read_only:
            rows.append(w.HBox([_button(text, partial(self._act, verb)) for verb, text in _VERBS]))
            rows.append(
                w.HBox(
                    [
                        self._command,
                        _button("Enqueue", self._enqueue),
                        _button("Start 1 worker", lambda: self._send("start", n=1)),
                    ]
                )
            )
        return [*rows, self._said, self._output]

    # --- clicks ---

    def _look(self, **patch: Any) -> None:
        self._send("view", patch=patch)

    def _turn(self, *, back: bool) -> None:
        key = self._controller.body.get("before" if back else "after")
        if key:
            self._look(key=key, back=back)

    def _chosen(self, change: Any) -> None:
        ids = list(change["new"])
        self._controller.picked = ids
        self._armed = None
        if len(ids) == 1:
            self._look(open=ids[0])
            with self._output:
                self._output.clear_output(wait=True)
                print(escape_terminal(self._controller.log.get("text", ""), multiline=True)[-8000:])

    def _act(self, verb: str) -> None:
        ids = tuple(self._choice.value)
        if not ids:
            return self._say("Nothing is selected: nothing was done.")
        if verb in ("cancel", "delete") and self._armed != (verb, ids):
            dry = self._controller.handle(
                {"kind": "act", "verb": verb, "scope": {"ids": list(ids)}, "dry": True}
            )
            self._armed = (verb, ids)
            return self._say(
                f"Would be {dry['word']}: {dry['done']}, left alone: {dry['left_alone']}. Press again to do it."
                if dry["ok"]
                else dry["error"]
            )
        self._armed = None
        return self._send("act", verb=verb, scope={"ids": list(ids)})

    def _enqueue(self) -> None:
        self._send("enqueue", fields={"command": self._command.value})

    def _send(self, kind: str, **more: Any) -> None:
        answer = self._controller.handle({"kind": kind, **more})
        notice = self._controller.notice
        if not answer["ok"]:
            self._say(answer["error"])
        elif kind not in ("view", "poke") and notice:
            self._say(f"{notice['text']}  {notice.get('code') or ''}")
        self._draw()

    # --- drawing ---

    def _say(self, text: str) -> None:
        self._said.value = f"<p>{escape_html(text)}</p>"

    def _draw(self) -> None:
        head, body = self._controller.head, self._controller.body
        at = datetime.fromtimestamp(head.get("at", 0) / 1000).strftime("%H:%M:%S")
        trouble = head.get("trouble")
        counts = (
            " · ".join(f"{escape_html(s)} {n:,}" for s, n in head.get("counts", {}).items() if n)
            or "no jobs yet"
        )
        self._counts.value = f"<p><b>{escape_html(str(head.get('name', '')))}</b> at {at}: {escape_html(trouble['text']) if trouble else counts}</p>"
        rows = body.get("rows", [])
        self._choice.options = [r["id"] for r in rows]
        lines = "".join(_line(r) for r in rows)
        titles = "".join(
            f'<th style="{_CELL}">{t}</th>' for t in ("State", "ID", "Command", "Attempts", "Result")
        )
        note = escape_html(body.get("error") or ("" if rows else "No job matches"))
        self._table.value = (
            f"<table><thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table><p>{note}</p>"
        )

    @property
    def selected_ids(self) -> list[str]:
        """Ids of the selected jobs."""
        return list(self._choice.value)


def _line(row: dict[str, Any]) -> str:
    cells = (
        row["state"],
        row["id"],
        row["cmd"][:80],
        f"{row['attempts']}/{row['max']}",
        (row["error"] or row["reason"] or "")[:80],
    )
    return "<tr>" + "".join(f'<td style="{_CELL}">{escape_html(str(c))}</td>' for c in cells) + "</tr>"


def _button(text: str, run: Callable[[], Any]) -> w.Button:
    made = w.Button(description=text, layout={"width": "auto"})
    made.on_click(lambda _b: run())
    return made


_PANELS: dict[tuple[str, bool, int], BasicPanel] = {}


def basic_panel_of(path: str, open_queue: Callable[[], Any], *, read_only: bool = False) -> BasicPanel:
    """Return the stock panel of a queue; in one kernel the same one each time."""
    key = (path, read_only, os.getpid())
    if key not in _PANELS:
        _PANELS[key] = BasicPanel(Controller(path, open_queue, read_only=read_only))
    else:
        _PANELS[key]._send("poke")
    return _PANELS[key]
