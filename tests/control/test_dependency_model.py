"""A thousand random graphs of jobs that wait for jobs, with random deaths, cancels, retries, swaps, edits and deletes, against an independent model.

The model knows nothing of events: it keeps what was done to each job and works out the rest anew each time, from the parents down.
"""

import os
import random
from dataclasses import dataclass, field

import pytest
from harness import check_invariants

from queuectl import lifecycle, processes
from queuectl.errors import QueuectlError
from queuectl.model import FINAL, State
from queuectl.queue import Queue
from queuectl.store.line import Lost, Settled
from queuectl.store.workers import Runner

GRAPHS, STEPS = 1000, 14
NEEDS = {"after": "ok", "after_any": "any", "after_fail": "fail"}


@dataclass
class Node:
    """One job of the model."""

    parents: dict[str, str]  # id -> ok, any, fail
    rule: str
    state: str = ""
    started: bool = False


@dataclass
class Model:
    """What ought to be, by rules said in words in docs/job-control.md and nothing else."""

    nodes: dict[str, Node] = field(default_factory=dict)

    def add(self, name, parents, rule):
        self.nodes[name] = Node(parents, rule, "blocked")
        self.look()

    def do(self, name, state):
        """Something was done to a job itself."""
        self.nodes[name].state = state
        if state in ("completed", "dead"):
            self.nodes[name].started = True
        self.look()

    def retry(self, names):
        for name in names:
            node = self.nodes[name]
            node.state = "blocked" if not node.started else "pending"
        self.look()

    def swap(self, old, new):
        """A new job takes the place of an ended one: in front of what still waits for it, behind what it still waits for."""
        was = self.nodes[old]
        waits = {} if was.started else dict(was.parents)
        for node in self.nodes.values():
            if (
                node.state == "blocked"
                and old in node.parents
                and self.fate(node, old, node.parents[old]) != "met"
            ):
                node.parents[new] = node.parents.pop(old)
        was.state = "cancelled"
        self.add(new, waits, was.rule)

    def is_waited_for(self, name):
        return any(
            x.state == "blocked" and name in x.parents and self.fate(x, name, x.parents[name]) != "met"
            for x in self.nodes.values()
        )

    def delete(self, name):
        del self.nodes[name]
        for node in self.nodes.values():
            node.parents.pop(name, None)

    def look(self):
        """Again and again, until nothing changes: in a graph without circles it ends."""
        while True:
            before = [x.state for x in self.nodes.values()]
            self.once()
            if before == [x.state for x in self.nodes.values()]:
                return

    def once(self):
        for node in self.nodes.values():
            if node.started or node.state not in ("blocked", "pending"):
                continue
            kinds = [self.fate(node, p, needs) for p, needs in node.parents.items()]
            if "lost" in kinds and node.rule == "cancel":
                node.state = "cancelled"
            else:
                node.state = "pending" if all(k == "met" for k in kinds) else "blocked"

    def fate(self, node, parent, needs):
        state = self.nodes[parent].state
        if state not in ("completed", "dead", "cancelled"):
            return "open"
        wanted = {
            "ok": ("completed",),
            "fail": ("dead", "cancelled"),
            "any": ("completed", "dead", "cancelled"),
        }
        return "met" if state in wanted[needs] or node.rule == "run" else "lost"

    def lost(self, name):
        node = self.nodes[name]
        return [p for p, n in node.parents.items() if self.fate(node, p, n) == "lost"]

    def is_hopeless(self, name):
        node = self.nodes[name]
        if node.state != "blocked":
            return False
        waited = [p for p, n in node.parents.items() if self.fate(node, p, n) != "met"]
        return any(
            self.nodes[p].state in ("completed", "dead", "cancelled") or self.is_hopeless(p) for p in waited
        )


class Real:
    """The same acts on a database, through the store's and the queue's own doors; runs are claimed and settled without processes."""

    def __init__(self, q):
        self.q, self.store = q, q._store
        me = Runner("r1", "here", processes.boot_id(), 1, 1, processes.mono_ms())
        with self.store.write():
            self.store.workers.register(["w1"], me, queues=None, now_ms=processes.now_ms())

    def rows(self):
        rows = self.store.connection.rows("select id, state, reason from jobs where seq > ?", (self.before,))
        return {i: (s, r) for i, s, r in rows}

    def age(self, name):
        return self.store.jobs.seq_of(name)

    def graph(self, number):
        """A queue of its own for each graph."""
        self.queue = f"g{number}"
        self.before = self.store.connection.rows("select coalesce(max(seq), 0) from jobs")[0][0]

    def run(self, name, state):
        """Claim until the job is ours, end it so, give the others back; one transaction, as a runner's turn is."""
        store, now = self.store, processes.now_ms()
        with store.write():
            claims = store.line.claim("w1", 1000, queues=[self.queue], now_ms=now)
            (job,) = [c for c in claims if c.id == name]
            store.line.give_back([(c.seq, c.run) for c in claims if c is not job], now_ms=now)
            if state == "poison":
                change = lifecycle.interrupt(2, charged=True, limit=3)
                assert store.line.interrupted(
                    Lost(job.seq, job.id, job.run, "w1", 2, None), change, now_ms=now
                )
                return
            bad = state != "completed"
            outcome, reason = ("failed", "exit status 1") if bad else ("ok", None)
            row = Settled(
                job.seq, job.id, job.run, "w1", state, outcome, int(bad), None, None, None, now, now, True, int(bad), None, reason, None, None,
                None, None, 1, 1, 1, 0, 0, None, None, None, None, None,
            )  # fmt: skip
            assert store.line.settle([row], now_ms=now) == []


def one_graph(dice, real, number):
    model = Model()
    real.graph(number)
    for n in range(dice.randint(2, 9)):
        name = f"g{number}-{n}"
        parents = {
            p: dice.choice([*NEEDS])
            for p in dice.sample([*model.nodes], min(len(model.nodes), dice.choice([0, 1, 1, 2, 3])))
        }
        rule = dice.choice(["block", "block", "cancel", "run"])
        given = {flag: [p for p, f in parents.items() if f == flag] or None for flag in NEEDS}
        real.q.enqueue("true", id=name, queue=real.queue, on_dep_fail=rule, **given)
        model.add(name, {p: NEEDS[f] for p, f in parents.items()}, rule)
        if dice.random() < 0.3:
            step(dice, real, model)
        compare(real, model, "enqueue")
    for _ in range(STEPS):
        compare(real, model, step(dice, real, model))


def step(dice, real, model):
    ready = [n for n, x in model.nodes.items() if x.state == "pending"]
    waiting = [n for n, x in model.nodes.items() if x.state in ("pending", "blocked")]
    ended = [n for n, x in model.nodes.items() if x.state in ("dead", "cancelled")]
    acts = (
        ["run"] * 5 * bool(ready)
        + ["cancel"] * bool(waiting)
        + ["retry"] * 2 * bool(ended)
        + ["swap"] * bool(ended)
    )
    blocked = [n for n in waiting if model.nodes[n].state == "blocked"]
    acts += ["edit"] * bool(blocked) + ["delete"]
    act = dice.choice(acts or ["none"])
    if act == "run":
        name, how = dice.choice(ready), dice.choice(["completed", "completed", "dead", "cancelled", "poison"])
        real.run(name, how)
        model.nodes[name].started = True
        model.do(name, "dead" if how == "poison" else how)
        return f"{name} {how}"
    if act == "cancel":
        chosen = dice.sample(waiting, dice.randint(1, min(2, len(waiting))))
        real.q.cancel(*chosen)
        for name in chosen:
            model.nodes[name].state = "cancelled"
        model.look()
        return f"cancel {chosen}"
    if act == "retry":
        chosen = dice.sample(ended, dice.randint(1, min(2, len(ended))))
        return retry(real, model, sorted(chosen, key=real.age))
    if act == "swap":
        name = dice.choice(ended)
        lost = [
            p
            for p in model.lost(name)
            if not model.nodes[name].started and model.nodes[name].state == "cancelled"
        ]
        if lost and model.nodes[name].rule == "cancel":
            with pytest.raises(QueuectlError, match="retry that one first"):
                real.q.retry(name, command="true")
            return f"swap {name} refused"
        new = real.q.retry(name, command="true").notes[0].rpartition(" ")[2]
        model.swap(name, new)
        return f"swap {name} {new}"
    if act == "edit":
        name, rule = dice.choice(blocked), dice.choice(["block", "cancel", "run"])
        if rule != model.nodes[name].rule:
            real.q.edit(name, on_dep_fail=rule)
            model.nodes[name].rule = rule
            model.look()
        return f"edit {name} {rule}"
    if act == "delete" and len(model.nodes) > 2 and dice.random() < 0.5:
        name = dice.choice([*model.nodes])
        if model.is_waited_for(name):
            with pytest.raises(QueuectlError, match="waiting for it"):
                real.q.delete(name)
        else:
            real.q.delete(name)
            model.delete(name)
        return f"delete {name}"
    return "none"


def retry(real, model, chosen):
    """A job that would be cancelled again at once, for a parent outside the selection is lost to it, is refused."""
    expected, refused = [], []
    for name in chosen:  # the oldest first, as the queue does it
        node = model.nodes[name]
        lost = [p for p in model.lost(name) if p not in expected] if not node.started else []
        (refused if lost and node.rule == "cancel" else expected).append(name)
    if refused == chosen and len(chosen) == 1:
        with pytest.raises(QueuectlError, match="retry that one first"):
            real.q.retry(*chosen)
    else:
        result = real.q.retry(*chosen)
        assert sorted(result.done) == sorted(expected)
        assert sorted(i for i, _ in result.skipped) == sorted(refused)
    model.retry(expected)
    return f"retry {chosen}"


def compare(real, model, after):
    rows = real.rows()
    found = {name: state for name, (state, _) in rows.items()}
    assert found == {n: x.state for n, x in model.nodes.items()}, after
    blocked = [n for n, s in found.items() if s == "blocked"]
    assert real.store.family.hopeless(blocked).keys() == {n for n in blocked if model.is_hopeless(n)}, after
    for name in blocked:
        reason, lost = rows[name][1], model.lost(name)
        assert (reason is None) == (not lost), (after, name, reason, lost)
        assert reason is None or any(f"waits for {p}" in reason for p in lost)


@pytest.mark.parametrize("_part", range(4))
def test_a_thousand_random_graphs_end_as_the_model_says(tmp_path, _part):
    seed = int(os.environ.get("QUEUECTL_SEED") or random.SystemRandom().randrange(1 << 32))
    print("QUEUECTL_SEED", seed)
    dice, real = random.Random(seed), Real(Queue(tmp_path / "d" / "queue.db"))
    real.store.connection.rows("pragma synchronous = off")
    for number in range(GRAPHS // 4):
        one_graph(dice, real, number)
    check_invariants(real.store)
    counts = real.q.status().counts
    assert all(counts[s] > 20 for s in (State.BLOCKED, State.PENDING, *FINAL)), counts
    real.q.close()
