// Elements and words. Every text from the queue goes through `textContent`: nothing here parses markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, props, kids) {
  for (const [name, value] of Object.entries(props || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") node.textContent = value;
    else if (name === "on") for (const [event, run] of Object.entries(value)) node.addEventListener(event, run);
    else if (name === "key") node.onPanelKey = value;
    else if (name in node && ["value", "checked", "disabled", "tabIndex", "type", "rows", "selected", "readOnly", "hidden"].includes(name)) node[name] = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const kid of kids.flat(3)) if (kid !== null && kid !== undefined && kid !== false) node.append(kid);
  return node;
}

export function h(tag, props, ...kids) {
  return fill(document.createElement(tag), props, kids);
}

export function s(tag, props, ...kids) {
  return fill(document.createElementNS(SVG, tag), props, kids);
}

export function setText(node, text) {
  const value = text === null || text === undefined ? "" : String(text);
  if (node.textContent !== value) node.textContent = value;
}

export function button(text, run, props = {}) {
  return h("button", { type: "button", class: "qp-btn", ...props, on: { click: run } }, text);
}

// A few strokes drawn by hand, so that no font of icons is needed.
const STROKES = {
  close: "M4 4l8 8M12 4l-8 8", plus: "M8 3v10M3 8h10", refresh: "M13 8a5 5 0 1 1-1.6-3.7M13 2.5v2.8h-2.8", copy: "M6 5.5h7v8H6zM3 10.5v-8h7",
  left: "M10 3.5L5.5 8l4.5 4.5", right: "M6 3.5L10.5 8 6 12.5", search: "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10zM10.6 10.6L14 14", help: "M6 6.2a2 2 0 1 1 2.7 1.9c-.5.2-.7.5-.7 1.2M8 11.6v.3",
};

export function icon(name) {
  return s("svg", { viewBox: "0 0 16 16", width: 14, height: 14, "aria-hidden": "true", class: "qp-icon", focusable: "false" },
    s("path", { d: STROKES[name], fill: "none", stroke: "currentColor", "stroke-width": 1.5, "stroke-linecap": "round", "stroke-linejoin": "round" }));
}

export function iconButton(name, label, run, props = {}) {
  return h("button", { type: "button", class: "qp-btn qp-iconbtn", "aria-label": label, title: label, ...props, on: { click: run } }, icon(name));
}

export const num = (n) => (n === null || n === undefined ? "–" : Number(n).toLocaleString("en-US"));
export const plural = (n, one, many = one + "s") => `${num(n)} ${n === 1 ? one : many}`;

// A length of time in the two units that matter.
export function span(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 0) ms = 0;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 10000) return `${+(ms / 1000).toFixed(1)} s`;
  const sec = Math.floor(ms / 1000);
  if (sec < 60) return `${sec} s`;
  const min = Math.floor(sec / 60);
  if (min < 60) return sec % 60 ? `${min} min ${sec % 60} s` : `${min} min`;
  const hours = Math.floor(min / 60);
  if (hours < 48) return min % 60 ? `${hours} h ${min % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return hours % 24 && days < 10 ? `${days} d ${hours % 24} h` : `${days} d`;
}

// The same in one unit: for columns, where the digits should line up.
export function brief(ms) {
  if (ms === null || ms === undefined) return "–";
  const sec = Math.max(0, Math.round(ms / 1000));
  if (sec < 60) return `${sec} s`;
  if (sec < 3600) return `${Math.floor(sec / 60)} min`;
  if (sec < 172800) return `${Math.floor(sec / 3600)} h`;
  return `${Math.floor(sec / 86400)} d`;
}

export function bytes(n) {
  if (n === null || n === undefined) return "–";
  for (const [size, unit] of [[1 << 30, "GiB"], [1 << 20, "MiB"], [1 << 10, "KiB"]]) if (n >= size) return `${(n / size).toFixed(1)} ${unit}`;
  return `${n} B`;
}

// A share of a whole; what is little is not nothing.
export const percentOf = (part) => (part > 0 && part < 0.01 ? "< 1 %" : `${Math.round(part * 100)} %`);
export const percent = ([done, total]) => Math.max(0, Math.min(100, Math.round((100 * done) / total)));

// How far a running job says it is; `qpTo` moves it.
export function progressBar(label) {
  const fill = h("i", { "aria-hidden": "true" }), bar = h("span", { class: "qp-progress", role: "progressbar", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100 }, fill), text = h("span", { class: "qp-num" });
  const node = h("span", { class: "qp-going" }, bar, text);
  node.qpTo = (progress, note) => {
    const part = percent(progress);
    bar.setAttribute("aria-valuenow", String(part));
    fill.style.width = `${part}%`;
    setText(text, `${part} %${note ? " " + note : ""}`);
  };
  return node;
}

const two = (n) => String(n).padStart(2, "0");
export function clock(ms) {
  const d = new Date(ms);
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}
export function day(ms) {
  const d = new Date(ms);
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`;
}
export const moment = (ms) => (ms ? `${day(ms)} ${clock(ms)}` : "–");
// A moment as short as it can be said today.
export const soonest = (ms) => (day(ms) === day(Date.now()) ? clock(ms).slice(0, 5) : `${day(ms).slice(5)} ${clock(ms).slice(0, 5)}`);
export function tickLabel(ms, whole) {
  const d = new Date(ms);
  return whole > 3 * 86400000 ? `${two(d.getMonth() + 1)}-${two(d.getDate())}` : `${two(d.getHours())}:${two(d.getMinutes())}`;
}

// A text that grows older: the panel's own clock rewrites it each second.
export function age(ms, format = brief) {
  if (!ms) return h("span", { text: "–" });
  const node = h("span", { title: moment(ms), class: "qp-num" });
  node.qpSince = ms;
  node.qpFormat = format;
  node.setAttribute("data-since", "");
  node.textContent = format(Date.now() - ms);
  return node;
}
export function grow(root) {
  for (const node of root.querySelectorAll("[data-since]")) setText(node, node.qpFormat(Date.now() - node.qpSince));
}

// A state is a colour, a shape and a word.
export function stateBadge(state) {
  return h("span", { class: "qp-state", "data-state": state }, h("i", { class: "qp-dot", "aria-hidden": "true" }), h("span", { text: state }));
}

export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h("textarea", { value: text, class: "qp-offscreen", "aria-hidden": "true", tabIndex: -1 });
    const before = document.activeElement;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    before?.focus?.();
    return done;
  }
}

// How wide a drawing may be here.
export const roomIn = (node, least = 320) => Math.max(least, Math.floor(node.clientWidth || 720));

// A control and its name.
export function field(label, control, hint) {
  const name = h("span", { class: "qp-field-label", text: label });
  return h("label", { class: "qp-field" }, name, control, hint && h("span", { class: "qp-hint", text: hint }));
}

export function select(label, options, value, run, props = {}) {
  const node = h("select", { class: "qp-select", "aria-label": label, ...props, on: { change: () => run(node.value) } },
    options.map(([v, text]) => h("option", { value: v, text, selected: String(v) === String(value) })));
  return node;
}
