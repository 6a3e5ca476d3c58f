// Small charts as inline SVG. Each has a name for those who cannot see it, and numbers beside it for those who want them.

import { h, s, num, span, plural, percentOf, tickLabel } from "./dom.js";

export function sparkline(values, { width = 96, height = 22, label, cls = "" }) {
  const top = Math.max(1, ...values), step = width / values.length;
  const bars = values.map((v, i) => {
    const tall = v ? Math.max(1.5, (v / top) * (height - 2)) : 0;
    return s("rect", { x: (i * step + 0.5).toFixed(2), y: (height - tall).toFixed(2), width: Math.max(1, step - 1).toFixed(2), height: tall.toFixed(2) });
  });
  return s("svg", { class: `qp-spark ${cls}`, width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label },
    s("line", { x1: 0, x2: width, y1: height - 0.5, y2: height - 0.5, class: "qp-axis" }), bars);
}

// Two rows of bars, one on the other: what ended well and what did not, over time.
export function stacked(ok, bad, start, end, width) {
  const height = 132, low = 110, left = 46;
  const top = Math.max(1, ...ok.map((v, i) => v + bad[i])), step = (width - left) / ok.length;
  const bars = ok.map((v, i) => {
    const a = (v / top) * (low - 6), b = (bad[i] / top) * (low - 6), x = left + i * step + 1;
    const from = start + ((end - start) / ok.length) * i;
    return s("g", {}, s("title", { text: `${tickLabel(from, end - start)}: ${num(v)} not failed, ${num(bad[i])} failed` }),
      s("rect", { x, y: low - a, width: step - 2, height: a, class: "qp-bar-ok" }), s("rect", { x, y: low - a - b, width: step - 2, height: b, class: "qp-bar-bad" }));
  });
  return s("svg", { class: "qp-chart", width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Runs that ended over time: ${num(sum(ok))} not failed, ${num(sum(bad))} failed` },
    s("line", { x1: left, x2: width, y1: low + 0.5, y2: low + 0.5, class: "qp-axis" }), s("line", { x1: left, x2: width, y1: 6.5, y2: 6.5, class: "qp-grid-line" }),
    s("text", { x: left - 6, y: 10, class: "qp-tick", "text-anchor": "end", text: num(top) }), s("text", { x: left - 6, y: low + 3, class: "qp-tick", "text-anchor": "end", text: "0" }),
    bars, timeTicks(left, width, height - 5, start, end));
}

const sum = (values) => values.reduce((a, b) => a + b, 0);

function timeTicks(left, right, y, start, end) {
  return [0, 0.25, 0.5, 0.75, 1].map((part) => s("text", {
    x: left + (right - left) * part, y, class: "qp-tick", "text-anchor": part === 0 ? "start" : part === 1 ? "end" : "middle",
    text: part === 1 ? "now" : tickLabel(start + (end - start) * part, end - start),
  }));
}

// How times are spread: columns by powers of about three.
export function spreadChart(data, what, width) {
  if (!data) return h("p", { class: "qp-quiet", text: "No runs in this window." });
  const edges = [0, ...data.edges], height = 104, low = 82;
  const first = Math.max(0, data.counts.findIndex((n) => n) - 1);
  let last = data.counts.length - 1;
  while (last > first && !data.counts[last]) last--;
  last = Math.min(data.counts.length - 1, Math.max(last + 1, first + 5));
  const shown = data.counts.slice(first, last + 1), top = Math.max(1, ...shown), step = width / shown.length, every = Math.ceil(52 / step);
  return h("div", {},
    s("svg", { class: "qp-chart", width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${what}: half took at most ${span(data.p50)}, 90 % ${span(data.p90)}, 99 % ${span(data.p99)}` },
      s("line", { x1: 0, x2: width, y1: low + 0.5, y2: low + 0.5, class: "qp-axis" }),
      shown.map((n, i) => {
        const tall = n ? Math.max(2, (n / top) * (low - 6)) : 0, from = edges[first + i], to = edges[first + i + 1];
        return s("g", {}, s("title", { text: `${to ? `${span(from)} to ${span(to)}` : `over ${span(from)}`}: ${plural(n, "run")}` }),
          s("rect", { x: i * step + 1, y: low - tall, width: step - 2, height: tall, class: "qp-bar" }),
          i % every === 0 && s("text", { x: i * step, y: height - 8, class: "qp-tick", "text-anchor": i ? "middle" : "start", text: edgeLabel(from) }));
      })),
    h("dl", { class: "qp-percentiles" }, [["p50", data.p50], ["p90", data.p90], ["p99", data.p99]].map(([k, v]) => h("div", {}, h("dt", { text: k }), h("dd", { text: span(v) })))));
}

function edgeLabel(ms) {
  if (!ms) return "0";
  if (ms < 1000) return `${ms} ms`;
  if (ms < 100000) return `${ms / 1000} s`;
  return ms < 3600000 ? `${Math.round(ms / 60000)} min` : "1 h";
}

// Commands down, time across; the stronger the colour, the more failures.
const heat = (n, top) => (n ? (0.22 + 0.78 * Math.sqrt(n / top)).toFixed(3) : null);

export function heatMap({ names, cells, every }, start, end, room) {
  const columns = cells[0]?.length || 1, left = Math.min(176, Math.floor(room * 0.34)), cell = Math.min(36, (room - left) / columns), tall = 20, width = left + columns * cell, height = names.length * tall + 20;
  const top = Math.max(1, ...cells.flat()), letters = Math.floor((left - 8) / 7);
  const many = (n) => (every > 1 ? `about ${plural(n * every, "failure")}` : plural(n, "failure"));
  return s("svg", { class: "qp-chart qp-heat", width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Failures by command over time: " + names.map((n, i) => `${n} ${num(sum(cells[i]) * every)}`).join(", ") },
    names.map((name, row) => [
      s("text", { x: left - 8, y: row * tall + 14, class: "qp-tick qp-heat-name", "text-anchor": "end", text: name.length > letters ? name.slice(0, letters - 1) + "…" : name }, s("title", { text: `${name}: ${many(sum(cells[row]))}` })),
      cells[row].map((n, column) => {
        const from = start + ((end - start) / columns) * column;
        return s("rect", { x: left + column * cell + 1, y: row * tall + 1, width: cell - 2, height: tall - 2, rx: 2, class: n ? "qp-hot" : "qp-cold", "fill-opacity": heat(n, top) },
          s("title", { text: `${name}, from ${tickLabel(from, end - start)}: ${n ? many(n) : "no failure"}` }));
      }),
    ]),
    timeTicks(left, width, height - 3, start, end));
}

// What the colours stand for: from one failure to the most in a field.
export function heatLegend({ cells, every }) {
  const top = Math.max(1, ...cells.flat()), about = every > 1 ? "about " : "";
  const steps = [...new Set([1, Math.ceil(top / 4), Math.ceil(top / 2), top])];
  return h("span", { class: "qp-legend" }, num(every > 1 ? every : 1),
    s("svg", { class: "qp-key-heat", width: steps.length * 14, height: 10, viewBox: `0 0 ${steps.length * 14} 10`, "aria-hidden": "true" }, steps.map((n, i) => s("rect", { x: i * 14, y: 0, width: 13, height: 10, rx: 1, class: "qp-hot", "fill-opacity": heat(n, top) }))),
    `${about}${num(top * every)}`);
}

// Of the causes: one bar each with its number, and the line of what they add up to; bars and line have the same scale.
export function paretoChart(causes, total, width) {
  const height = 164, low = 140, left = 44, right = 44, full = low - 10;
  const shown = causes.slice(0, 12), step = Math.min(110, (width - left - right) / shown.length), gap = Math.min(5, step * 0.12);
  const x = (i) => left + i * step, y = (part) => low - part * full, edge = x(shown.length);
  const points = shown.map((c, i) => `${(x(i) + step / 2).toFixed(1)},${y(c.cum).toFixed(1)}`).join(" ");
  return s("svg", { class: "qp-chart", width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Causes by frequency: the first explains ${percentOf(shown[0]?.share || 0)} of ${plural(total, "failed run")}, the first three ${percentOf(shown[Math.min(2, shown.length - 1)]?.cum || 0)}` },
    s("line", { x1: left, x2: edge, y1: low + 0.5, y2: low + 0.5, class: "qp-axis" }),
    [0.5, 1].map((part) => [
      s("line", { x1: left, x2: edge, y1: Math.round(y(part)) + 0.5, y2: Math.round(y(part)) + 0.5, class: "qp-grid-line" }),
      s("text", { x: left - 6, y: y(part) + 4, class: "qp-tick", "text-anchor": "end", text: num(Math.round(total * part)) }),
      s("text", { x: edge + 6, y: y(part) + 4, class: "qp-tick", text: `${part * 100} %` }),
    ]),
    s("text", { x: left - 6, y: low + 3, class: "qp-tick", "text-anchor": "end", text: "0" }),
    shown.map((c, i) => [
      s("rect", { x: x(i) + gap, y: Math.min(y(c.share), low - 1), width: step - 2 * gap, height: Math.max(1, c.share * full), class: "qp-bar-bad", rx: 1 }, s("title", { text: `${c.message}: ${plural(c.count, "failed run")}` })),
      i > 0 && c.cum - c.share > 0.2 && s("text", { x: x(i) + step / 2, y: Math.min(y(c.share), low - 1) - 4, class: "qp-tick", "text-anchor": "middle", text: num(c.count) }),
      s("text", { x: x(i) + step / 2, y: height - 8, class: "qp-tick", "text-anchor": "middle", text: i + 1 }),
    ]),
    s("polyline", { points, class: "qp-line" }), shown.map((c, i) => s("circle", { cx: x(i) + step / 2, cy: y(c.cum), r: 3, class: "qp-line-dot" }, s("title", { text: `the first ${i + 1}: ${percentOf(c.cum)}` }))));
}
