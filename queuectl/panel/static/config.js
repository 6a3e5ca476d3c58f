// The tab Config: every setting, what it means, and what the back-off settings come to.

import { h, setText, plural, span, button } from "./dom.js";

export function makeConfig(ctx) {
  const explained = h("div", { class: "qp-note" });
  const groups = { jobs: h("tbody", {}), workers: h("tbody", {}) };
  const table = (name, title) => h("section", {}, h("h3", { text: title }), h("table", { class: "qp-table qp-config", "aria-label": title }, groups[name]));
  const node = h("div", { class: "qp-configtab" }, explained, table("jobs", "Jobs, unless told otherwise when enqueued"), table("workers", "Workers"));
  const rows = new Map();

  function update() {
    const data = ctx.model.get("body");
    if (data.tab !== "config") return;
    for (const item of data.settings) {
      let row = rows.get(item.key);
      if (!row) {
        rows.set(item.key, (row = makeSetting(ctx, item)));
        groups[item.of].append(row.node);
      }
      row.update(item);
    }
    explain(data.backoff);
  }

  function explain({ delays, retries, total }) {
    const words = delays.map(span);
    const more = retries - 1 > delays.length ? ", …" : "";
    explained.replaceChildren(h("strong", { text: retries > 1 ? `A job that keeps failing runs ${plural(retries, "time")}, then it is dead.` : "A job that fails once is dead: there are no retries." }),
      h("span", { text: retries > 1 ? ` It waits ${words.join(", ")}${more} between them, ${span(total)} in all.` : "" }));
  }
  return { node, update };
}

function makeSetting(ctx, item) {
  const id = `${ctx.id}-set-${item.key}`;
  const choices = item.kind.includes("|") ? item.kind.split("|") : null;
  const input = choices
    ? h("select", { class: "qp-select", id, "aria-describedby": id + "-help", on: { change: save } }, choices.map((c) => h("option", { value: c, text: c })))
    : h("input", { type: item.kind === "whole" ? "number" : "text", class: item.kind === "line" ? "qp-input qp-long" : "qp-input", id, spellcheck: "false", "aria-describedby": id + "-help", on: { input: dirty }, key: (e) => { if (e.key === "Enter") save(); else if (e.key === "Escape") { input.value = now.value; dirty(); } else return false; return true; } });
  const saveButton = button("Save", save, { class: "qp-btn qp-small qp-primary", hidden: true });
  const reset = button("Reset", () => { input.value = now.default; save(); }, { class: "qp-btn qp-small", "aria-label": `Reset ${item.key} to ${item.default}` });
  const complaint = h("p", { class: "qp-complaint", role: "alert" });
  const note = h("span", { class: "qp-quiet" });
  let now = item;
  const node = h("tr", {}, h("th", { scope: "row" }, h("label", { for: id, text: item.key })), h("td", {}, h("span", { class: "qp-joined" }, input, saveButton, reset), complaint),
    h("td", {}, h("span", { id: id + "-help", text: item.help }), " ", note));
  function dirty() {
    saveButton.hidden = input.value === now.value;
    setText(complaint, "");
    input.removeAttribute("aria-invalid");
  }
  async function save() {
    if (input.value === now.value) return dirty();
    const answer = await ctx.call("config", { key: item.key, value: input.value });
    if (answer.ok) { setText(complaint, ""); return; }
    setText(complaint, answer.error);
    input.setAttribute("aria-invalid", "true");
    if (choices) input.value = now.value;
  }
  function update(next) {
    const clean = input.value === now.value || input.value === "" || input.value === next.value;
    now = next;
    if (clean || document.activeElement !== input) input.value = next.value;
    input.disabled = Boolean(ctx.model.get("head").read_only);
    reset.hidden = !next.changed || next.value === next.default || input.disabled;
    setText(note, next.changed && next.value !== next.default ? `(built in: ${next.default})` : "");
    node.classList.toggle("qp-changed", next.changed && next.value !== next.default);
    saveButton.hidden = input.value === next.value || input.disabled;
  }
  return { node, update };
}
