"""Who goes first: strict priority by default, and ageing, under which nothing starves. Simulated at a clock of our own."""

import random

from bench_line import register

from queuectl.store.jobs import INSERTED

HOUR = 3_600_000


def put(q, now, **spec):
    row = q._enqueuer.row({"command": "true", **spec}, now_ms=now)
    with q._store.write():
        q._store.jobs.insert([[row[c] for c in INSERTED]])


def take(q, now):
    with q._store.write():
        found = q._store.line.claim("w1", 1, queues=None, now_ms=now)
        q._store.connection.rows("delete from jobs where state = 'processing'")
    return [c.id for c in found]


def simulate(q, *, hours, arrivals):
    """A job of high priority arrives every second and one is taken every second, for hours; return when the lowly one was taken."""
    register(q._store, "w1")
    now = 1_800_000_000_000
    q._store.connection.rows("pragma synchronous = off")
    put(q, now, id="lowly", priority=-2)
    dice = random.Random(7)
    put(q, now, priority=1)  # so that there is always one more than can be taken
    for second in range(hours * 3600 // arrivals):
        now += 1000 * arrivals
        put(q, now, priority=dice.choice([0, 1]))
        if take(q, now) == ["lowly"]:
            return second * arrivals
    return None


def test_under_strict_priority_a_lowly_job_starves(q):
    """The control: this is what ageing is for."""
    assert simulate(q, hours=2, arrivals=10) is None


def test_with_ageing_nothing_starves(q):
    """Its three steps of priority are worth 3 · 300 s, so it is taken when it has waited that much longer than what is there."""
    q.config.set("priority-aging", "300s")
    waited = simulate(q, hours=2, arrivals=10)
    assert waited is not None and 500 <= waited <= 1000


def test_the_line_is_by_priority_and_then_by_age_whatever_the_queue(q):
    register(q._store, "w1")
    dice = random.Random(3)
    now, wanted = 1_800_000_000_000, []
    for n in range(200):
        priority, queue, key = dice.randint(-3, 3), dice.choice(["a", "b", "c"]), dice.choice(["", "x"])
        put(q, now + n, id=f"j{n}", priority=priority, queue=queue, **({"limit_key": key} if key else {}))
        wanted.append((-priority, n))
    assert [take(q, now + HOUR) for _ in range(200)] == [[f"j{n}"] for _, n in sorted(wanted)]


def test_a_change_of_ageing_keeps_the_order_among_equals_and_bumped_jobs_in_front(q):
    jobs = [q.enqueue("true", id=f"{p}{n}", priority=p) for n in range(3) for p in (0, 5)]
    q.bump("02", "52")
    wanted = ["52", "50", "51", "02", "00", "01"]
    order = "select id from jobs where state = 'pending' order by rank, seq"
    assert [i for (i,) in q._store.connection.rows(order)] == wanted
    for aging in ("1h", "1ms", "none", "10s", "none"):
        q.config.set("priority-aging", aging)
        for p in "05":
            found = [i for (i,) in q._store.connection.rows(order) if i[0] == p]
            assert found == [i for i in wanted if i[0] == p], aging
    assert [i for (i,) in q._store.connection.rows(order)] == wanted
    assert len(jobs) == 6
