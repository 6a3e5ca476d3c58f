// Small charts as inline SVG. Each has a name for those who cannot see it, and numbers beside it for those who want them.

import { h, s, num, span, plural, tickLabel } from "./dom.js";

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
  const height = 132, low = 110, left = 34;
  const top = Math.max(1, ...ok.map((v, i) => v + bad[i])), step = (width - left) / ok.length;
  const bars = ok.map((v, i) => {
    const a = (v / top) * (low - 6), b = (bad[i] / top) * (low - 6), x = left + i * step + 1;
    const from = start + ((end - start) / ok.length) * i;
    return s("g", {}, s("title", { text: `${tickLabel(from, end - start)}: ${num(v)} completed, ${num(bad[i])} failed` }),
      s("rect", { x, y: low - a, width: step - 2, height: a, class: "qp-bar-ok" }), s("rect", { x, y: low - a - b, width: step - 2, height: b, class: "qp-bar-bad" }));
  });
  return s("svg", { class: "qp-chart", width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Runs that ended over time: ${plural(sum(ok), "completed run")}, ${num(sum(bad))} failed` },
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

// Commands down, time across; the darker, the more failures.
export function heatMap(heat, start, end, room) {
  const columns = heat.cells[0]?.length || 1, left = Math.min(176, Math.floor(room * 0.34)), cell = Math.min(36, (room - left) / columns), tall = 20, width = left + columns * cell, height = heat.names.length * tall + 20;
  const top = Math.max(1, ...heat.cells.flat());
  const total = heat.cells.map(sum);
  return s("svg", { class: "qp-chart qp-heat", width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Failures by command over time: " + heat.names.map((n, i) => `${n} ${total[i]}`).join(", ") },
    heat.names.map((name, row) => [
      s("text", { x: left - 8, y: row * tall + 14, class: "qp-tick qp-heat-name", "text-anchor": "end", text: name.length > left / 7 ? name.slice(0, Math.floor(left / 7) - 1) + "…" : name }),
      heat.cells[row].map((n, column) => {
        const from = start + ((end - start) / columns) * column;
        return s("rect", { x: left + column * cell + 1, y: row * tall + 1, width: cell - 2, height: tall - 2, rx: 2, class: n ? "qp-hot" : "qp-cold", "fill-opacity": n ? (0.2 + 0.8 * Math.sqrt(n / top)).toFixed(3) : null },
          s("title", { text: `${name}, ${tickLabel(from, end - start)}: ${plural(n, "failure")}` }));
      }),
    ]),
    timeTicks(left, width, height - 3, start, end));
}

// Of the causes: one bar each, and the line of what they add up to.
export function paretoChart(causes, width) {
  const height = 164, low = 140, left = 34, right = 44;
  const shown = causes.slice(0, 12), top = Math.max(1, ...shown.map((c) => c.count)), step = Math.min(110, (width - left - right) / shown.length), full = low - 10;
  const x = (i) => left + i * step;
  const points = shown.map((c, i) => `${(x(i) + step / 2).toFixed(1)},${(low - c.cum * full).toFixed(1)}`).join(" ");
  const edge = x(shown.length);
  return s("svg", { class: "qp-chart", width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Causes by frequency: the first explains ${Math.round((shown[0]?.share || 0) * 100)} % of failed runs, the first three ${Math.round((shown[Math.min(2, shown.length - 1)]?.cum || 0) * 100)} %` },
    s("line", { x1: left, x2: edge, y1: low + 0.5, y2: low + 0.5, class: "qp-axis" }), s("line", { x1: left, x2: edge, y1: low - full + 0.5, y2: low - full + 0.5, class: "qp-grid-line" }),
    s("text", { x: left - 6, y: low - full + 4, class: "qp-tick", "text-anchor": "end", text: num(top) }), s("text", { x: left - 6, y: low + 3, class: "qp-tick", "text-anchor": "end", text: "0" }),
    s("text", { x: edge + 6, y: low - full + 4, class: "qp-tick", text: "100 %" }),
    shown.map((c, i) => [
      s("rect", { x: x(i) + 5, y: low - (c.count / top) * full, width: step - 10, height: (c.count / top) * full, class: "qp-bar-bad", rx: 1 }, s("title", { text: `${c.message}: ${plural(c.count, "failed run")}` })),
      s("text", { x: x(i) + step / 2, y: height - 8, class: "qp-tick", "text-anchor": "middle", text: i + 1 }),
    ]),
    s("polyline", { points, class: "qp-line" }), shown.map((c, i) => s("circle", { cx: x(i) + step / 2, cy: low - c.cum * full, r: 2.5, class: "qp-line-dot" }, s("title", { text: `the first ${i + 1}: ${Math.round(c.cum * 100)} %` }))));
}
