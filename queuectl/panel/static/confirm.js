// Before something is destroyed: what would happen, who would be left alone and why, and a way back that has the focus.

import { h, button, num } from "./dom.js";

// Ask in place; resolves to true when confirmed. Only one question is open per place.
export function ask(place, { title, lines = [], go, danger = true }) {
  place.qpCancel?.();
  const from = document.activeElement;
  return new Promise((resolve) => {
    const done = (answer) => {
      place.qpCancel = null;
      box.remove();
      if (from?.isConnected) from.focus();
      resolve(answer);
    };
    const id = "qp-ask-" + Math.random().toString(36).slice(2, 9);
    const cancel = button("Cancel", () => done(false), { class: "qp-btn qp-cancel" });
    const box = h("div", { class: "qp-confirm", role: "alertdialog", "aria-modal": "false", "aria-labelledby": id, "aria-describedby": id + "-d", key: (e) => e.key === "Escape" && (done(false), true) },
      h("div", { class: "qp-confirm-text" }, h("strong", { id, text: title }), h("div", { id: id + "-d" }, lines.map((line) => h("p", { text: line })))),
      h("div", { class: "qp-actions" }, cancel, go && button(go, () => done(true), { class: danger ? "qp-btn qp-danger" : "qp-btn qp-primary" })));
    place.qpCancel = () => done(false);
    place.append(box);
    cancel.focus();
    box.scrollIntoView?.({ block: "nearest" });
  });
}

const WORDS = {
  retry: ["Retry", "requeued"], cancel: ["Cancel", "cancelled"], delete: ["Delete", "deleted"], bump: ["Move to the front", "moved to the front"], edit: ["Change", "changed"],
};

// A verb on a scope. What destroys, and what reaches beyond the rows one sees, is tried dry first and confirmed.
export async function perform(ctx, place, verb, scope, { options = {}, mustAsk = false, what = "" } = {}) {
  const [name, done] = WORDS[verb];
  if (mustAsk || verb === "delete" || verb === "cancel") {
    const dry = await ctx.call("act", { verb, scope, options, dry: true });
    if (!dry.ok) return ctx.complain(dry.error);
    const lines = [];
    if (dry.left_alone) lines.push(`${num(dry.left_alone)} left alone: ` + dry.skipped.map((s) => `${s.why} (${num(s.n)})`).join("; "));
    if (verb === "delete") lines.push("Deleted jobs, their runs and their output cannot be brought back.");
    if (verb === "cancel" && dry.done) lines.push("Running jobs among them are stopped.");
    const jobs = dry.done === 1 ? "1 job" : `${num(dry.done)} jobs`;
    const title = dry.done ? `${name} ${jobs}${what ? " " + what : ""}?` : `Nothing would be ${done}.`;
    if (!(await ask(place, { title, lines, go: dry.done ? `${name} ${jobs}` : null, danger: verb === "delete" || verb === "cancel" }))) return null;
  }
  const answer = await ctx.call("act", { verb, scope, options, dry: false });
  if (!answer.ok) ctx.complain(answer.error);
  return answer;
}
