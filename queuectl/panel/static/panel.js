// The whole panel: one model of the kernel's, some views of it. The model's traits are what is shown; what a person does
// goes back as a message, and the answer comes as a message with the same number.

import { h, setText, grow, button, iconButton, copyText, clock } from "./dom.js";
import { makeHeader, makeBanner } from "./header.js";
import { makeJobs } from "./jobs.js";
import { makeFailures } from "./failures.js";
import { makeWorkers } from "./workers.js";
import { makeActivity } from "./activity.js";
import { makeConfig } from "./config.js";
import { catchKeys, helpBox } from "./keys.js";

const TABS = [["jobs", "Jobs", makeJobs], ["failures", "Failures", makeFailures], ["workers", "Workers", makeWorkers], ["activity", "Activity", makeActivity], ["config", "Config", makeConfig]];
const LEASE_MS = 20000, ANSWER_MS = 60000;
let made = 0;

function render({ model, el }) {
  const id = `qp${Date.now().toString(36)}${made++}`;
  const root = h("section", { class: "qp", "aria-label": "Job queue control panel", id });
  const ctx = { model, root, id, heard: Date.now(), visible: false, resized: 0 };
  const waiting = new Map();
  let next = 0;

  ctx.call = (kind, more = {}, complain = false) => new Promise((resolve) => {
    const rid = `${id}-${next++}`;
    const timer = setTimeout(() => finish({ ok: false, error: "no answer from the kernel; is it busy or gone?" }), ANSWER_MS);
    const finish = (answer) => {
      clearTimeout(timer);
      waiting.delete(rid);
      if (complain && !answer.ok) ctx.complain(answer.error);
      resolve(answer);
    };
    waiting.set(rid, finish);
    model.send({ kind, rid, ...more });
  });
  // Where the person goes shows at once; the kernel's answer confirms it.
  ctx.look = (patch) => {
    if ("tab" in patch) showTab(patch.tab);
    return ctx.call("view", { patch }, true);
  };
  ctx.pick = (ids, all = false) => {
    model.set("picked", ids);
    model.set("picked_all", all);
    model.save_changes();
    update();
  };
  ctx.filterState = (state) => {
    const query = model.get("view").query || "", on = new RegExp(`(^|\\s)state:${state}(?=\\s|$)`).test(query);
    const rest = query.replace(/(^|\s)state:\S*/g, " ").trim();
    ctx.look({ tab: "jobs", query: on && model.get("view").tab === "jobs" ? rest : `state:${state} ${rest}`.trim() });
  };

  // --- the region where results stay ---
  const said = h("div", { class: "qp-said", role: "status", "aria-live": "polite" });
  const codeLine = h("code", {}), skipped = h("ul", {});
  const copyCode = button("Copy as code", () => ctx.copied(codeLine.textContent));
  const openNew = button("Open", () => ctx.look({ tab: "jobs", query: "", open: model.get("notice").id }));
  const bar = h("div", { class: "qp-result", hidden: true }, h("div", { class: "qp-result-main" }, said, skipped, h("div", { class: "qp-codeline" }, codeLine)), h("span", { class: "qp-btns" }, openNew, copyCode, iconButton("close", "Dismiss", () => { bar.hidden = true; })));
  let noticed = model.get("notice").n || 0;
  function drawNotice() {
    const notice = model.get("notice");
    if (!notice.n || notice.n === noticed) return;
    noticed = notice.n;
    tell(notice.text, { at: notice.at, code: notice.code, skipped: notice.skipped, id: notice.id });
  }
  function tell(text, { at = Date.now(), code = null, skipped: left = [], id: job = null, bad = false } = {}) {
    bar.hidden = false;
    bar.dataset.kind = bad ? "error" : "done";
    setText(said, `${text} (${clock(at)})`);
    skipped.hidden = !left?.length;
    skipped.replaceChildren(...(left || []).map((s) => h("li", { text: `${s.n} skipped: ${s.why}` })));
    setText(codeLine, code || "");
    codeLine.parentNode.hidden = copyCode.hidden = !code;
    openNew.hidden = !job;
    keepInSight();
  }
  // The result floats at the lower edge of what is seen. `position: sticky` would do, were a notebook's output not a scroller of its own.
  function keepInSight() {
    if (bar.hidden) return;
    const here = bar.getBoundingClientRect(), now = parseFloat(bar.dataset.up || 0);
    let floor = window.innerHeight;
    // What `body` says of overflow holds for the window, and in JupyterLab it has no height of its own.
    for (let at = root.parentElement; at && at !== document.body; at = at.parentElement) {
      if (getComputedStyle(at).overflowY !== "visible") floor = Math.min(floor, at.getBoundingClientRect().bottom);
    }
    const up = Math.max(0, Math.min(here.bottom + now - floor, here.top + now - list.getBoundingClientRect().bottom));
    bar.dataset.up = up;
    bar.style.transform = up ? `translateY(${-up}px)` : "";
  }
  ctx.complain = (text) => tell(text, { bad: true });
  ctx.copied = async (text) => {
    const done = await copyText(text);
    tell(done ? "Copied" : "The browser did not allow copying", { bad: !done, code: done && text === codeLine.textContent ? text : null });
  };

  // --- tabs ---
  const tabs = new Map();
  const list = h("div", { class: "qp-tabs", role: "tablist", "aria-label": "Views", key: (e) => {
    const at = TABS.findIndex(([name]) => tabs.get(name).tab === e.target), step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
    if (at < 0 || !(step || e.key === "Home" || e.key === "End")) return false;
    const to = TABS[step ? (at + step + TABS.length) % TABS.length : e.key === "Home" ? 0 : TABS.length - 1][0];
    tabs.get(to).tab.focus();
    ctx.look({ tab: to });
    return true;
  } });
  for (const [name, title, make] of TABS) {
    const part = make(ctx);
    const tab = h("button", { type: "button", role: "tab", class: "qp-tab", id: `${id}-tab-${name}`, "aria-controls": `${id}-pane-${name}`, text: title, on: { click: () => ctx.look({ tab: name }) } });
    const pane = h("div", { class: "qp-pane", role: "tabpanel", id: `${id}-pane-${name}`, "aria-labelledby": `${id}-tab-${name}`, hidden: true }, part.node);
    tabs.set(name, { tab, pane, part });
    list.append(tab);
  }
  function showTab(name) {
    for (const [other, { tab, pane }] of tabs) {
      tab.setAttribute("aria-selected", String(other === name));
      tab.tabIndex = other === name ? 0 : -1;
      pane.hidden = other !== name;
    }
  }

  // --- help ---
  let help = null;
  ctx.toggleHelp = () => {
    if (help) {
      help.remove();
      help = null;
      return;
    }
    help = helpBox(ctx.toggleHelp);
    banner.node.before(help);
    help.focus();
  };

  const header = makeHeader(ctx), banner = makeBanner(ctx);
  root.append(header.node, banner.node, list, ...[...tabs.values()].map((t) => t.pane), bar);
  el.append(root);

  function update() {
    const view = model.get("view");
    showTab(view.tab);
    header.update();
    banner.update();
    tabs.get(view.tab).part.update();
    drawNotice();
  }
  let queued = false;
  const soon = () => {
    ctx.heard = Date.now();
    if (queued) return;
    queued = true;
    queueMicrotask(() => {
      queued = false;
      update();
    });
  };
  const events = ["head", "body", "detail", "output", "notice", "view", "picked", "picked_all"].map((name) => "change:" + name);
  const hear = (message) => {
    ctx.heard = Date.now();
    if (message.kind === "reply") waiting.get(message.rid)?.(message);
    else header.beat();
  };
  for (const event of events) model.on(event, soon);
  model.on("msg:custom", hear);

  // --- who sees it ---
  let inView = false;
  const lease = () => {
    const visible = inView && document.visibilityState === "visible";
    if (visible !== ctx.visible) ctx.heard = Date.now();
    const was = ctx.visible;
    ctx.visible = visible;
    header.beat();
    if (!visible && !was) return; // never seen: there is nothing to give up
    model.send({ kind: "lease", viewer: id, on: visible });
  };
  const watcher = new IntersectionObserver((seen) => {
    inView = seen[seen.length - 1].isIntersecting;
    lease();
  });
  watcher.observe(root);
  document.addEventListener("visibilitychange", lease);
  const leave = () => model.send({ kind: "lease", viewer: id, on: false });
  window.addEventListener("pagehide", leave);
  const renew = setInterval(() => ctx.visible && lease(), LEASE_MS);
  const ticking = setInterval(() => {
    if (!ctx.visible) return;
    grow(root);
    header.beat();
    banner.update();
  }, 1000);

  let floating = false;
  const scrolled = () => {
    if (floating || bar.hidden) return;
    floating = true;
    requestAnimationFrame(() => {
      floating = false;
      keepInSight();
    });
  };
  window.addEventListener("scroll", scrolled, { capture: true, passive: true });
  const grown = new ResizeObserver(scrolled);
  grown.observe(root);

  // Charts are drawn for the room there is.
  let width = 0;
  const sizes = new ResizeObserver(() => {
    if (Math.abs(root.clientWidth - width) < 8) return;
    width = root.clientWidth;
    ctx.resized++;
    requestAnimationFrame(update);
  });
  sizes.observe(root);

  const theme = () => { root.dataset.theme = isDark(root) ? "dark" : "light"; };
  const themes = new MutationObserver(theme);
  themes.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "class", "style", "data-jp-theme-name"] });
  const later = setTimeout(theme, 500);
  const freeKeys = catchKeys(root, { "/": () => { ctx.look({ tab: "jobs" }); tabs.get("jobs").part.focusFilter(); }, "?": ctx.toggleHelp });

  theme();
  update();
  return () => {
    watcher.disconnect();
    themes.disconnect();
    sizes.disconnect();
    grown.disconnect();
    window.removeEventListener("scroll", scrolled, { capture: true });
    clearInterval(renew);
    clearInterval(ticking);
    clearTimeout(later);
    document.removeEventListener("visibilitychange", lease);
    window.removeEventListener("pagehide", leave);
    freeKeys();
    for (const event of events) model.off(event, soon);
    model.off("msg:custom", hear);
    leave();
  };
}

// Light or dark as it really looks: the nearest background that is not transparent.
function isDark(node) {
  for (let at = node.parentElement; at; at = at.parentElement) {
    const found = getComputedStyle(at).backgroundColor.match(/[\d.]+/g)?.map(Number);
    if (found && (found.length < 4 || found[3] > 0.5)) return 0.2126 * found[0] + 0.7152 * found[1] + 0.0722 * found[2] < 128;
  }
  return false;
}

export default { render };
