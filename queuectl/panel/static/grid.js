// The table of jobs: a grid whose rows take the focus. Rows are kept by id, so that a refresh moves neither focus nor selection.

import { h, setText, stateBadge, age, brief, span, clock, soonest, percent, progressBar } from "./dom.js";

const COLUMNS = [["pick", ""], ["state", "State"], ["id", "ID"], ["cmd", "Command"], ["tries", "Attempts"], ["why", "Result"], ["when", "Updated"]];

export function makeGrid(ctx, { open, turn }) {
  const rowOf = new Map();
  let order = [], focused = null, anchor = null;
  const all = h("input", { type: "checkbox", "aria-label": "Select all rows of this page", on: { change: () => pickAll(all.checked) } });
  const body = h("tbody", { key: onKey });
  const table = h("table", { class: "qp-grid", role: "grid", "aria-label": "Jobs", "aria-multiselectable": "true" },
    h("thead", {}, h("tr", {}, COLUMNS.map(([name, text]) => h("th", { scope: "col", class: "qp-c-" + name }, name === "pick" ? all : text)))), body);

  const picked = () => new Set(ctx.model.get("picked"));
  function setPicked(ids) {
    ctx.pick(ids);
  }
  function pickAll(on) {
    const set = picked();
    for (const id of order) on ? set.add(id) : set.delete(id);
    setPicked([...set]);
  }
  function toggle(id, on) {
    const set = picked();
    (on ?? !set.has(id)) ? set.add(id) : set.delete(id);
    setPicked([...set]);
  }

  function makeRow(id) {
    const box = h("input", { type: "checkbox", tabIndex: -1, "aria-label": `Select job ${id}`, on: { change: () => toggle(id, box.checked), click: (e) => { e.stopPropagation(); range(e, id); } } });
    const cells = COLUMNS.map(([name]) => h("td", { class: "qp-c-" + name, role: "gridcell" }));
    cells[0].append(box);
    cells[2].append(h("code", { text: id }));
    const tr = h("tr", { tabIndex: -1, "data-id": id, on: {
      click: (e) => { if (e.target.type === "checkbox") return; focusRow(id, false); open(id); },
      focus: () => setFocused(id),
    } }, cells);
    tr.qpBox = box;
    return tr;
  }

  function range(e, id) {
    if (!e.shiftKey || !anchor || !order.includes(anchor)) { anchor = id; return; }
    const [a, b] = [order.indexOf(anchor), order.indexOf(id)].sort((x, y) => x - y);
    const set = picked();
    order.slice(a, b + 1).forEach((i) => set.add(i));
    setPicked([...set]);
  }

  function fillRow(tr, row) {
    const cells = tr.cells;
    if (tr.dataset.state !== row.state) {
      tr.dataset.state = row.state;
      cells[1].replaceChildren(stateBadge(row.state));
    }
    setText(cells[3], row.cmd);
    cells[3].title = row.cmd;
    setText(cells[4], row.attempts || row.state === "failed" || row.state === "dead" ? `${row.attempts}/${row.max}` : row.runs > 1 ? `run ${row.runs}` : "");
    const why = reason(row), going = row.state === "processing" && row.progress;
    if (going) {
      if (!tr.qpBar?.isConnected) cells[5].replaceChildren((tr.qpBar = progressBar(`Progress of ${row.id}`)));
      tr.qpBar.qpTo(row.progress, row.progress[2] || (row.worker ? `on ${row.worker}` : ""));
    } else setText(cells[5], why);
    cells[5].title = going?.[2] || why;
    if (tr.qpAt !== row.updated) {
      tr.qpAt = row.updated;
      cells[6].replaceChildren(age(row.updated, brief));
    }
  }

  function update(rows) {
    const hadFocus = body.contains(document.activeElement) && document.activeElement.tagName === "TR";
    order = rows.map((r) => r.id);
    for (const [id, tr] of rowOf) if (!order.includes(id)) { tr.remove(); rowOf.delete(id); }
    rows.forEach((row, i) => {
      let tr = rowOf.get(row.id);
      if (!tr) rowOf.set(row.id, (tr = makeRow(row.id)));
      fillRow(tr, row);
      if (body.rows[i] !== tr) body.insertBefore(tr, body.rows[i] || null);
    });
    if (!order.includes(focused)) focused = order[0] ?? null;
    setFocused(focused);
    if (hadFocus && focused && !body.contains(document.activeElement)) rowOf.get(focused).focus({ preventScroll: true });
    drawPicked();
  }

  function drawPicked() {
    const set = picked(), everything = ctx.model.get("picked_all"), open_ = ctx.model.get("view").open;
    let n = 0;
    for (const [id, tr] of rowOf) {
      const on = everything || set.has(id);
      n += on ? 1 : 0;
      tr.qpBox.checked = on;
      tr.setAttribute("aria-selected", String(on));
      tr.classList.toggle("qp-opened", id === open_);
    }
    all.checked = n > 0 && n === order.length;
    all.indeterminate = n > 0 && n < order.length;
    all.disabled = !order.length;
  }

  function setFocused(id) {
    focused = id;
    for (const [other, tr] of rowOf) tr.tabIndex = other === id ? 0 : -1;
  }
  function focusRow(id, scroll = true) {
    setFocused(id);
    rowOf.get(id)?.focus({ preventScroll: !scroll });
  }

  function onKey(e) {
    const at = order.indexOf(focused), last = order.length - 1;
    if (at < 0) return false;
    const step = { ArrowDown: 1, ArrowUp: -1 }[e.key];
    if (step) {
      const next = Math.max(0, Math.min(last, at + step));
      if (e.shiftKey) { const set = picked(); set.add(order[at]); set.add(order[next]); setPicked([...set]); }
      else anchor = order[next];
      focusRow(order[next]);
    } else if (e.key === "Home" || e.key === "End") focusRow(order[e.key === "Home" ? 0 : last]);
    else if (e.key === "PageDown") turn(1);
    else if (e.key === "PageUp") turn(-1);
    else if (e.key === " ") { anchor = focused; toggle(focused); }
    else if (e.key === "Enter") { if (e.target.tagName !== "TR") return false; open(focused); }
    else if (e.key === "Escape") { if (picked().size) setPicked([]); else open(null); }
    else return false;
    return true;
  }

  // Where the drawer lies below the table, the table is short and scrolls: keep the opened row in sight, and nothing else.
  const box = h("div", { class: "qp-gridbox" }, table);
  function showOpened() {
    const tr = rowOf.get(ctx.model.get("view").open);
    if (!tr || box.scrollHeight <= box.clientHeight) return;
    const top = tr.offsetTop - table.tHead.offsetHeight, bottom = tr.offsetTop + tr.offsetHeight;
    if (top < box.scrollTop) box.scrollTop = top;
    else if (bottom > box.scrollTop + box.clientHeight) box.scrollTop = bottom - box.clientHeight;
  }

  return { node: box, update, drawPicked, showOpened, focusFirst: () => order.length && focusRow(order[0]), focusOn: (id) => (rowOf.has(id) ? focusRow(id) : order.length && focusRow(order[0])), hasFocus: () => body.contains(document.activeElement) };
}

// The result in a few words: how it ended, or what it waits for.
export function reason(row) {
  const took = row.started && row.finished ? span(row.finished - row.started) : "";
  if (row.state === "completed") return took ? `took ${took}` : "";
  if (row.state === "processing") return row.progress ? `${percent(row.progress)} % done` : row.worker ? `on ${row.worker}` : "";
  if (row.state === "failed") return [row.error || row.reason, row.due && `retry at ${clock(row.due)}`].filter(Boolean).join(" · ");
  if (row.state === "scheduled") return row.due ? `due ${soonest(row.due)}` : "";
  if (row.state === "blocked") return "waits for other jobs";
  if (row.state === "pending") return row.runs ? row.error || row.reason || "" : row.prio ? `priority ${row.prio}` : "";
  return row.error || row.reason || "";
}
