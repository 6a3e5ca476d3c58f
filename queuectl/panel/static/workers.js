// The tab Workers: who works, start more, stop some. They are processes of their own and outlive the kernel.

import { h, setText, num, plural, age, brief, button, stateBadge } from "./dom.js";
import { ask } from "./confirm.js";
import { renderAnsi } from "./ansi.js";

export function makeWorkers(ctx) {
  const n = h("input", { type: "number", class: "qp-input qp-narrow", min: "1", max: "64", value: "1", "aria-label": "How many" });
  const queues = h("input", { type: "text", class: "qp-input", placeholder: "all queues", "aria-label": "Queues", spellcheck: "false" });
  const start = button("Start in the background", run, { class: "qp-btn qp-primary" });
  const pause = button("Pause claims", () => ctx.call("pause", { on: !(ctx.model.get("head").paused || []).includes("*") }, true));
  const tools = h("div", { class: "qp-toolbar", key: (e) => e.key === "Enter" && e.target.tagName === "INPUT" && (run(), true) },
    h("span", { class: "qp-joined" }, n, queues, start), h("span", { class: "qp-grow" }), pause);
  const note = h("p", { class: "qp-quiet", text: "Workers started here are processes of their own: they go on when the kernel restarts or shuts down, and a new kernel finds them." });
  const body = h("tbody", {});
  const table = h("table", { class: "qp-table", "aria-label": "Workers" },
    h("thead", {}, h("tr", {}, ["Worker", "State", "Job", "Done", "Failed", "Up", "Heartbeat", "Process", ""].map((t, i) => h("th", { scope: "col", class: [3, 4, 5, 6].includes(i) ? "qp-right" : i === 7 ? "qp-wide" : null, text: t || "Actions" })))), body);
  const empty = h("div", { class: "qp-emptybox" }, h("p", { class: "qp-empty-title", text: "No worker is running" }), h("p", { text: "Start one here, or in a terminal: queuectl worker" }));
  const place = h("div", {});
  const logTitle = h("h3", {}), logText = h("pre", { class: "qp-log", tabIndex: 0, role: "region", "aria-label": "Worker log" });
  const log = h("div", { class: "qp-workerlog", hidden: true, key: (e) => e.key === "Escape" && (ctx.look({ worker: null }), true) },
    h("div", { class: "qp-logbar" }, logTitle, h("span", { class: "qp-grow" }), button("Close", () => ctx.look({ worker: null }))), logText);
  const node = h("div", { class: "qp-workers" }, tools, note, place, table, empty, log);
  const rows = new Map();

  async function run() {
    start.disabled = true;
    try {
      await ctx.call("start", { n: Number(n.value), queues: queues.value }, true);
    } finally {
      start.disabled = false;
    }
  }

  function update() {
    const data = ctx.model.get("body"), head = ctx.model.get("head");
    setText(pause, (head.paused || []).includes("*") ? "Resume claims" : "Pause claims");
    tools.hidden = Boolean(head.read_only);
    if (data.tab !== "workers") return;
    table.hidden = !data.workers.length;
    empty.hidden = data.workers.length > 0;
    const ids = new Set(data.workers.map((w) => w.id));
    for (const [id, row] of rows) if (!ids.has(id)) { row.node.remove(); rows.delete(id); }
    data.workers.forEach((w, i) => {
      let row = rows.get(w.id);
      if (!row) rows.set(w.id, (row = makeRow(w.id)));
      row.update(w, data, head);
      if (body.rows[i] !== row.node) body.insertBefore(row.node, body.rows[i] || null);
    });
    drawLog(data);
  }

  let drawn = "";
  function drawLog(data) {
    log.hidden = !data.log;
    const key = JSON.stringify(data.log);
    if (!data.log || key === drawn) return;
    drawn = key;
    setText(logTitle, `Log of ${data.log.id}`);
    if (data.log.text) renderAnsi(logText, data.log.text);
    else setText(logText, data.log.text === null ? "This worker writes to its own terminal; it has no log here." : "Nothing in the log yet");
    logText.scrollTop = logText.scrollHeight;
  }

  function makeRow(id) {
    const cells = Array.from({ length: 9 }, (_, i) => h("td", { class: [3, 4, 5, 6].includes(i) ? "qp-num qp-right" : i === 7 ? "qp-wide qp-quiet" : null }));
    cells[0].append(h("code", { text: id }));
    const stop = button("Stop", () => ctx.call("stop", { ids: [id] }, true), { class: "qp-btn qp-small", "aria-label": `Stop ${id} after its current job` });
    const kill = button("Kill", () => confirmKill(id), { class: "qp-btn qp-small", "aria-label": `Kill ${id} now` });
    const showLog = button("Log", () => ctx.look({ worker: ctx.model.get("view").worker === id ? null : id }), { class: "qp-btn qp-small", "aria-label": `Log of ${id}` });
    cells[8].append(h("span", { class: "qp-btns" }, showLog, stop, kill));
    const node = h("tr", {}, cells);
    let job;
    function update(w, data, head) {
      const state = w.state === "stale" || Date.now() - w.beat > data.stale_ms ? "stale" : w.state;
      if (node.dataset.state !== state) cells[1].replaceChildren(h("span", { class: "qp-state", "data-state": { busy: "processing", idle: "completed", stopping: "failed", stale: "dead" }[state] || "cancelled" }, h("i", { class: "qp-dot", "aria-hidden": "true" }), h("span", { text: state })));
      node.dataset.state = state;
      if (job !== w.job) cells[2].replaceChildren(w.job ? h("button", { type: "button", class: "qp-link", text: w.job, on: { click: () => ctx.look({ tab: "jobs", query: `id:${w.job}`, open: w.job }) } }) : h("span", { class: "qp-quiet", text: "–" }));
      job = w.job;
      setText(cells[3], num(w.done));
      setText(cells[4], num(w.failed));
      cells[5].replaceChildren(age(w.started, brief));
      cells[6].replaceChildren(age(w.beat, brief));
      setText(cells[7], `${w.host}:${w.pid}${w.queues ? ` (${w.queues})` : ""}`);
      stop.disabled = state === "stopping";
      stop.hidden = kill.hidden = Boolean(head.read_only);
      showLog.setAttribute("aria-pressed", String(data.log?.id === id));
    }
    return { node, update };
  }

  async function confirmKill(id) {
    const w = (ctx.model.get("body").workers || []).find((x) => x.id === id);
    const lines = [w?.job ? `Its job ${w.job} is stopped and becomes pending again, without losing an attempt.` : "It has no job at the moment."];
    if (await ask(place, { title: `Kill worker ${id} now?`, lines, go: "Kill it" })) await ctx.call("stop", { ids: [id], now: true }, true);
  }
  return { node, update };
}
