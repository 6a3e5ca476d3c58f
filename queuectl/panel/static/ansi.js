// What programs print, made safe to look at: colours (SGR) become classes, everything else that could move a cursor,
// set a title, open a link or turn the text around is dropped or spelt out. The result goes through `textContent`.

import { h } from "./dom.js";

const NAMES = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
// CSI, OSC and the other strings up to their end, two-character escapes, and a lone ESC.
const ESCAPE = /\x1b\[([0-?]*)([ -/]*[@-~])|\x9b([0-?]*)([ -/]*[@-~])|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|$)|\x1b[ -/]*[0-~]?/g;
const HIDDEN = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

const spell = (c) => {
  const code = c.codePointAt(0);
  return code < 256 ? "\\x" + code.toString(16).padStart(2, "0") : "\\u" + code.toString(16).padStart(4, "0");
};

// A colour of 256 or of 16 million becomes the nearest of the sixteen, whose contrast is known.
function nearest(r, g, b) {
  const high = Math.max(r, g, b), low = Math.min(r, g, b);
  if (high - low < 40) return high > 170 ? "white" : high > 70 ? "bright-black" : "black";
  const bit = (v) => (v > (high + low) / 2 ? 1 : 0);
  return NAMES[bit(r) + 2 * bit(g) + 4 * bit(b)];
}
function of256(n) {
  if (n < 8) return NAMES[n];
  if (n < 16) return "bright-" + NAMES[n - 8];
  if (n >= 232) return nearest(...Array(3).fill(8 + (n - 232) * 10));
  const steps = [0, 95, 135, 175, 215, 255], k = n - 16;
  return nearest(steps[Math.floor(k / 36)], steps[Math.floor(k / 6) % 6], steps[k % 6]);
}

function applySgr(style, args) {
  const codes = args.split(/[;:]/).map((a) => (a === "" ? 0 : parseInt(a, 10)));
  for (let i = 0; i < codes.length; i++) {
    const c = codes[i];
    if (c === 0) style = {};
    else if (c === 1) style = { ...style, bold: true };
    else if (c === 2) style = { ...style, dim: true };
    else if (c === 3) style = { ...style, italic: true };
    else if (c === 4) style = { ...style, underline: true };
    else if (c === 7) style = { ...style, inverse: true };
    else if (c === 9) style = { ...style, strike: true };
    else if (c === 22) style = { ...style, bold: false, dim: false };
    else if (c === 23) style = { ...style, italic: false };
    else if (c === 24) style = { ...style, underline: false };
    else if (c === 27) style = { ...style, inverse: false };
    else if (c === 29) style = { ...style, strike: false };
    else if (c >= 30 && c <= 37) style = { ...style, fg: NAMES[c - 30] };
    else if (c >= 90 && c <= 97) style = { ...style, fg: "bright-" + NAMES[c - 90] };
    else if (c === 39) style = { ...style, fg: null };
    else if (c >= 40 && c <= 47) style = { ...style, bg: NAMES[c - 40] };
    else if (c >= 100 && c <= 107) style = { ...style, bg: "bright-" + NAMES[c - 100] };
    else if (c === 49) style = { ...style, bg: null };
    else if (c === 38 || c === 48) {
      const which = c === 38 ? "fg" : "bg";
      if (codes[i + 1] === 5) { style = { ...style, [which]: of256(codes[i + 2] || 0) }; i += 2; }
      else if (codes[i + 1] === 2) { style = { ...style, [which]: nearest(codes[i + 2] || 0, codes[i + 3] || 0, codes[i + 4] || 0) }; i += 4; }
    }
  }
  return style;
}

function classOf(style) {
  const names = [];
  for (const flag of ["bold", "dim", "italic", "underline", "strike"]) if (style[flag]) names.push("qp-a-" + flag);
  // A background alone or reversed text is shown as a mark: its contrast must not hang on a program's taste.
  if (style.inverse || style.bg) names.push("qp-a-mark");
  if (style.fg) names.push("qp-a-" + style.fg);
  return names.join(" ");
}

// A carriage return starts the line anew: of a progress bar only its last state is kept, and the colours set before it.
function settleLine(line) {
  const body = line.replace(/\r+$/, "");
  const at = body.lastIndexOf("\r");
  if (at < 0) return body;
  return (body.slice(0, at).match(/\x1b\[[0-9;:]*m/g) || []).join("") + body.slice(at + 1);
}

// Text to pieces `{text, cls}`.
export function parseAnsi(text) {
  const pieces = [];
  let style = {}, last = 0;
  const clean = text.split("\n").map(settleLine).join("\n");
  const push = (part) => {
    if (!part) return;
    const shown = part.replace(HIDDEN, spell), cls = classOf(style);
    if (pieces.length && pieces[pieces.length - 1].cls === cls) pieces[pieces.length - 1].text += shown;
    else pieces.push({ text: shown, cls });
  };
  for (const found of clean.matchAll(ESCAPE)) {
    push(clean.slice(last, found.index));
    last = found.index + found[0].length;
    const end = found[2] ?? found[4];
    if (end === "m") style = applySgr(style, found[1] ?? found[3] ?? "");
  }
  push(clean.slice(last));
  return pieces;
}

export function renderAnsi(target, text) {
  target.replaceChildren(...parseAnsi(text).map((p) => (p.cls ? h("span", { class: p.cls, text: p.text }) : document.createTextNode(p.text))));
}
