// The keyboard. Plain keys typed in the panel belong to the panel: in a notebook `d d` would delete the cell. They are caught
// on their way down, in a capture listener of the window, before the notebook's own; Ctrl, Meta and Alt pass.

import { h } from "./dom.js";

export function catchKeys(root, shortcuts) {
  const listen = (e) => {
    if (!root.contains(e.composedPath()[0]) || e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.key === "Tab") return;
    e.stopPropagation();
    if (e.isComposing) return;
    for (let node = e.target; node && node !== root.parentNode; node = node.parentNode) {
      if (node.onPanelKey?.(e)) {
        e.preventDefault();
        return;
      }
    }
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(e.target.tagName) && e.target.type !== "checkbox";
    if (!typing && shortcuts[e.key]) {
      shortcuts[e.key]();
      e.preventDefault();
    }
  };
  window.addEventListener("keydown", listen, true);
  return () => window.removeEventListener("keydown", listen, true);
}

export const KEYS = [
  ["/", "go to the filter"], ["↑ ↓", "move along the rows"], ["Home End", "first and last row of the page"], ["PgUp PgDn", "page before and after"],
  ["Space", "select the row"], ["Shift + ↑ ↓", "select a range"], ["Enter", "open the job"], ["Esc", "close, or clear the selection"], ["?", "this help"],
];

const QUALIFIERS = [
  ["state:dead,failed", "where it is in its life"], ["cmd:curl", "text in the command"], ["err:4f2a…", "a cause, or text in the error"], ["exit:7", "exit code"], ["signal:9", "signal it died of"],
  ["attempts:>2", "failed attempts"], ["runs:>=5", "times started"], ["age:<1h", "time since enqueued"], ["updated:<10m", "time since it changed"], ["took:>30s", "run time"],
  ["queue:slow", "queue"], ["tag:nightly", "tag"], ["priority:>0", "priority"], ["id:kj5p…", "id"], ["worker:wmg14l71", "worker"], ["-state:completed", "turned around"], ['"two words"', "free text"],
];

export function helpBox(close) {
  const list = (rows) => h("dl", { class: "qp-keys" }, rows.map(([k, v]) => h("div", {}, h("dt", {}, h("kbd", { text: k })), h("dd", { text: v }))));
  return h("section", { class: "qp-help", "aria-label": "Help", tabIndex: -1, key: (e) => e.key === "Escape" && (close(), true) },
    h("div", {}, h("h3", { text: "Keyboard" }), list(KEYS)), h("div", {}, h("h3", { text: "Filter" }), list(QUALIFIERS)),
    h("button", { type: "button", class: "qp-btn", text: "Close", on: { click: close } }));
}
