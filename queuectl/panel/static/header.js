// What stands above every tab: is it alive, which database, how many in each state, how fast, how late, who works.

import { h, setText, num, brief, span, clock, age, stateBadge } from "./dom.js";
import { sparkline } from "./charts.js";
import { select, iconButton, button, plural } from "./dom.js";

const STATES = ["pending", "processing", "failed", "dead", "completed", "scheduled", "blocked", "cancelled"];
const isStale = ([at, state], head) => state === "stale" || Date.now() - at > head.stale_ms;
const SILENT_MS = 8000, GONE_MS = 30000;

export function makeHeader(ctx) {
  const dot = h("span", { class: "qp-live" }, h("i", { "aria-hidden": "true" }), h("span", {}));
  const name = h("span", { class: "qp-db" });
  const spark = h("span", { class: "qp-sparkbox" }), rate = h("span", { class: "qp-num" });
  const oldest = h("span", { class: "qp-stat" }), crew = h("span", { class: "qp-stat" });
  const interval = select("Refresh", [[1, "Live"], [2, "Every 2 s"], [5, "Every 5 s"], [10, "Every 10 s"], [30, "Every 30 s"], [0, "By hand"]], 1, (v) => ctx.look({ interval: Number(v) }));
  const chips = h("div", { class: "qp-chips", role: "group", "aria-label": "Jobs by state: filter" });
  const chipOf = new Map();
  for (const state of STATES) {
    const n = h("b", { class: "qp-num" });
    const chip = h("button", { type: "button", class: "qp-chip", on: { click: () => ctx.filterState(state) } }, stateBadge(state), n);
    chip.qpN = n;
    chipOf.set(state, chip);
    chips.append(chip);
  }
  const node = h("header", { class: "qp-head" },
    h("div", { class: "qp-headline" }, dot, name, h("span", { class: "qp-grow" }),
      h("span", { class: "qp-stat qp-rate" }, spark, rate), oldest, crew,
      h("span", { class: "qp-tools" }, interval, iconButton("refresh", "Refresh now", () => ctx.call("poke", {})), iconButton("help", "Keyboard and filter help", () => ctx.toggleHelp()))),
    chips);

  function update() {
    const head = ctx.model.get("head"), view = ctx.model.get("view"), query = view.query || "";
    setText(name, head.name || "");
    name.title = head.db || "";
    for (const [state, chip] of chipOf) {
      const n = head.counts?.[state] || 0, on = new RegExp(`(^|\\s)state:${state}(\\s|$)`).test(query);
      setText(chip.qpN, num(n));
      chip.hidden = !n && !on && ["scheduled", "blocked", "cancelled"].includes(state);
      chip.setAttribute("aria-pressed", String(on && view.tab === "jobs"));
      chip.classList.toggle("qp-zero", !n);
    }
    drawRate(head);
    drawOldest(head);
    drawCrew(head);
    interval.value = String(view.interval);
    beat();
  }

  function drawRate(head) {
    const values = head.spark || [], total = values.reduce((a, b) => a + b, 0);
    const full = values.slice(-6, -1), perMinute = full.reduce((a, b) => a + b, 0) / (full.length || 1);
    const shown = perMinute >= 10 || perMinute === 0 ? num(Math.round(perMinute)) : perMinute.toFixed(1);
    spark.replaceChildren(sparkline(values.length ? values : [0], { label: `Runs that ended in the last 30 minutes: ${num(total)}` }));
    setText(rate, `${shown}/min`);
    rate.title = "Runs that ended, mean of the last five whole minutes";
  }

  function drawOldest(head) {
    oldest.hidden = !head.oldest_pending;
    if (!head.oldest_pending) return;
    if (oldest.qpAt !== head.oldest_pending) oldest.replaceChildren("oldest pending ", age(head.oldest_pending, brief));
    oldest.qpAt = head.oldest_pending;
  }

  function drawCrew(head) {
    const rows = head.workers || [], stale = rows.filter((row) => isStale(row, head)).length;
    setText(crew, rows.length ? `${plural(rows.length - stale, "worker")}${stale ? `, ${stale} stale` : ""}` : "no workers");
    crew.classList.toggle("qp-warn", !rows.length || stale > 0);
  }

  // The dot: live, paused for a reason, stale, gone, or what is wrong with the database. Never a moving text for a reader.
  function beat() {
    const head = ctx.model.get("head"), view = ctx.model.get("view"), silent = Date.now() - ctx.heard;
    let kind = "live", word = "live";
    if (head.trouble) [kind, word] = ["error", { missing: "no database", locked: "database locked", newer: "newer database", moved: "database moved" }[head.trouble.kind] || "database error"];
    else if (!ctx.visible) [kind, word] = ["paused", "paused (hidden)"];
    else if (silent > GONE_MS) [kind, word] = ["gone", `no kernel, data from ${clock(head.at || Date.now())}`];
    else if (silent > SILENT_MS) [kind, word] = ["stale", `stale ${span(silent)}`];
    else if (view.interval === 0) [kind, word] = ["paused", "paused (by hand)"];
    else if (ctx.model.get("picked").length && view.tab === "jobs") [kind, word] = ["paused", "paused (rows selected)"];
    dot.dataset.kind = kind;
    setText(dot.lastChild, word);
    ctx.root.classList.toggle("qp-gone", kind === "gone");
  }
  return { node, update, beat };
}

// What is wrong, or what is missing, across the top.
export function makeBanner(ctx) {
  const node = h("div", { class: "qp-banners" });
  let shown = "";
  function update() {
    const head = ctx.model.get("head"), counts = head.counts || {}, rows = head.workers || [];
    const alive = rows.filter((row) => !isStale(row, head)).length;
    const key = JSON.stringify([head.trouble, alive ? 0 : counts.pending, head.paused, head.read_only]);
    if (key === shown) return;
    shown = key;
    node.replaceChildren();
    if (head.trouble) node.append(banner("error", head.trouble.text, button("Try again", () => ctx.call("poke", {}))));
    else if (!alive && counts.pending) {
      node.append(banner("warn", `${num(counts.pending)} waiting and no worker is running`,
        !head.read_only && button("Start 1", () => ctx.call("start", { n: 1 }, true), { class: "qp-btn qp-primary" })));
    }
    if (head.paused?.length) {
      const all = head.paused.includes("*");
      const resume = (text, queue) => button(text, () => ctx.call("pause", { on: false, queue }, true));
      const each = all || head.paused.length === 1 ? [] : head.paused.slice(0, 5).map((queue) => resume(`Resume ${queue}`, queue));
      node.append(banner("warn", all ? "All queues are paused: nothing new is started" : head.paused.length > 5 ? `${head.paused.length} queues are paused` : `Paused: ${head.paused.join(", ")}`,
        !head.read_only && h("span", { class: "qp-btns" }, each, each.length ? resume("Resume all", null) : resume("Resume", all ? null : head.paused[0]))));
    }
    if (head.read_only) node.append(banner("info", "Read-only: this panel looks and changes nothing"));
  }
  const banner = (kind, text, ...more) => h("div", { class: "qp-banner", "data-kind": kind }, h("span", { text }), more);
  return { node, update };
}
