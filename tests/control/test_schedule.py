"""Schedules: every slot gets its job once, whatever clocks, restarts and other runners do."""

import contextlib
import io
import multiprocessing
import random
import time
from datetime import UTC, datetime

import pytest
from cronsim import CronSim
from harness import await_true

from queuectl import processes
from queuectl.chores import Moment
from queuectl.chores.schedules import Schedules, tick
from queuectl.cli import main
from queuectl.cron import SET_BACK_MS, Cron, Schedule
from queuectl.enqueue import Enqueuer
from queuectl.errors import InvalidValue, NothingMatched, StateConflict
from queuectl.model import State
from queuectl.store import Store

SPAWN = multiprocessing.get_context("spawn")
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


def ms(*when):
    return int(datetime(*when, tzinfo=UTC).timestamp() * 1000)


def local(slots, zone):
    return [datetime.fromtimestamp(s / 1000, Cron("* * * * *", zone).zone).isoformat() for s in slots]


BASE = ms(2026, 6, 1, 12)


def entry(cron="*/5 * * * *", *, at=BASE, name="e", zone="UTC", misfire="one", overlap="allow", **fields):
    fields = {"cwd": "/", **fields}
    return Schedule(
        name,
        cron,
        zone,
        "true",
        fields,
        misfire,
        overlap,
        False,
        Cron(cron, zone).after(at),
        None,
        0,
        None,
        at,
    )


def put(store, one):
    with store.write():
        store.schedules.put(one)
    return one


def run(store, *times):
    return [tick(store, now_ms=t, enqueuer=Enqueuer(store)) for t in times]


def slots(store, name="e"):
    rows = store.connection.rows("select slot_ms from jobs where schedule = ? order by seq", (name,))
    return [r[0] for r in rows]


# --- when slots are ---


GAP, OVERLAP = (ms(2026, 3, 28, 12), ms(2026, 3, 29, 12)), (ms(2026, 10, 24, 12), ms(2026, 10, 25, 12))


@pytest.mark.parametrize(
    ("text", "span", "expected"),
    [
        ("30 2 * * *", GAP, ["2026-03-29T03:00:00+02:00"]),
        ("0,30 2 * * *", GAP, ["2026-03-29T03:00:00+02:00"]),
        ("15 30 2 * * *", GAP, ["2026-03-29T03:00:15+02:00"]),
        ("*/30 0,30 2 * * *", GAP, ["2026-03-29T03:00:00+02:00", "2026-03-29T03:00:30+02:00"]),
        ("30 1-3 29 * *", GAP, ["2026-03-29T01:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00"]),
        ("*/30 12 1 7 *", (ms(2026, 2, 1), ms(2027, 2, 1)), [f"2026-07-01T12:{m}:00+02:00" for m in ("00", "30")]),
        ("0 12 1 7 *", (ms(2026, 2, 1), ms(2027, 2, 1)), ["2026-07-01T12:00:00+02:00"]),
        ("*/30 1-3 29 * *", GAP, [f"2026-03-29T{t}" for t in
            ("01:00:00+01:00", "01:30:00+01:00", "03:00:00+02:00", "03:30:00+02:00")]),
        ("30 2 * * *", OVERLAP, ["2026-10-25T02:30:00+02:00"]),
        ("15 30 2 * * *", OVERLAP, ["2026-10-25T02:30:15+02:00"]),
        ("*/30 2 * * *", OVERLAP, [f"2026-10-25T{t}" for t in
            ("02:00:00+02:00", "02:30:00+02:00", "02:00:00+01:00", "02:30:00+01:00")]),
    ],
)  # fmt: skip
def test_a_clock_that_changes_neither_loses_nor_doubles_a_daily_slot(text, span, expected):
    assert local(Cron(text, "Europe/Berlin").between(*span, limit=99), "Europe/Berlin") == expected


CHANGES = (
    ("Europe/Berlin", ms(2026, 10, 25)), ("Europe/Berlin", ms(2026, 3, 29)), ("Australia/Lord_Howe", ms(2026, 4, 4, 14)),
    ("Australia/Lord_Howe", ms(2026, 10, 3, 14)), ("Africa/Cairo", ms(2026, 4, 23, 20)), ("Africa/Casablanca", ms(2026, 3, 22)),
    ("America/St_Johns", ms(2026, 3, 8, 4)), ("Pacific/Apia", ms(2011, 12, 30, 8)), ("Asia/Kolkata", ms(2026, 3, 8)),
)  # fmt: skip


def test_entries_in_real_time_match_a_walk_through_every_minute():
    dice = random.Random(5)
    for n in range(150):
        zone, change = CHANGES[n % len(CHANGES)]
        hour = dice.choice(["*", "*/2", "1", "2", "0", "1-3"])
        minute = dice.choice(["*/15", "*/7"] if hour.isdigit() or hour == "1-3" else ["0", "30", "*/15", "5"])
        day, weekday = dice.choice(["*", "25", "29", "4"]), dice.choice(["*", "SUN"])
        text = f"{minute} {hour} {day} * {weekday}"
        cron, asked = Cron(text, zone), CronSim(text, datetime(2020, 1, 1))
        start = change - 6 * HOUR + dice.randrange(200) * MINUTE
        end = start + dice.choice([3, 14, 40]) * HOUR
        walked = []
        for t in range(start, end + 1, MINUTE):
            there = datetime.fromtimestamp(t / 1000, cron.zone)
            if there.minute in asked.minutes and there.hour in asked.hours and asked.match_day(there.date()):
                walked.append(t)
        assert cron.between(start, end, limit=10**6) == walked, (zone, text)
        assert cron.latest(start, end) == (walked[-1] if walked else None)


@pytest.mark.parametrize(
    "text", ["", "* * * *", "61 * * * *", "0 0 31 2 *", "@reboot", "x", "5L * * * *", "* * * * * * *", "*/0 * * * *", "0 0 * * MON#6", "１ * * * *"]
)  # fmt: skip
def test_an_entry_that_means_nothing_is_refused(q, text):
    with pytest.raises(InvalidValue, match="cron"):
        q.schedule.add("e", text, command="true")
    assert q.schedule.list() == []


@pytest.mark.parametrize(
    "zone", ["Mars/Olympus", "../../etc/passwd", "", "/etc/passwd", "Europe", "x" * 5000]
)
def test_a_zone_that_is_none_is_refused(q, zone):
    with pytest.raises(InvalidValue, match="timezone"):
        q.schedule.add("e", "@daily", command="true", timezone=zone or "\0")


@pytest.mark.parametrize(
    "fields",
    [
        {"timeout": "soon"},
        {"misfire": "some"},
        {"overlap": "no"},
        {"cwd": "/nowhere"},
        {"limit": 2},
        {"queue": "a b"},
    ],
)
def test_a_bad_setting_is_refused_when_the_entry_is_added(q, fields):
    with pytest.raises(InvalidValue):
        q.schedule.add("e", "@daily", command="true", **fields)
    assert q.schedule.list() == []


# --- each slot once ---


def test_each_slot_gets_one_job_over_restarts(q):
    put(q._store, entry())
    for minute in range(61):
        store = Store(q.path)
        run(store, BASE + minute * MINUTE, BASE + minute * MINUTE + 10)
        store.close()
    assert slots(q._store) == [BASE + n * 5 * MINUTE for n in range(1, 13)]


def test_a_clock_that_jumps_about_gives_no_slot_two_jobs(q):
    put(q._store, entry(misfire="all"))
    dice, now = random.Random(3), BASE
    for _ in range(300):
        now += dice.choice([MINUTE, MINUTE, 3 * MINUTE, -50 * MINUTE, 45 * MINUTE, 2 * HOUR, -2 * HOUR])
        run(q._store, now)
    run(q._store, *[BASE + 40 * HOUR] * 6)
    found = slots(q._store)
    assert found == [BASE + n * 5 * MINUTE for n in range(1, len(found) + 1)]
    assert found[-1] >= BASE + 40 * HOUR


def test_a_clock_that_was_a_year_ahead_does_not_silence_a_schedule_for_a_year(q):
    put(q._store, entry())
    run(q._store, BASE + 365 * DAY)
    chore = Schedules(q._store)
    chore.look(Moment(BASE + MINUTE, 0))
    assert chore.due_in_ms(Moment(BASE + MINUTE, 0)) <= 0
    chore.tend(Moment(BASE + MINUTE, 0))
    assert chore.due_in_ms(Moment(BASE + MINUTE, 0)) == 4 * MINUTE
    assert run(q._store, BASE + 5 * MINUTE, BASE + 5 * MINUTE + 1) == [1, 0]
    assert slots(q._store) == [BASE + 365 * DAY, BASE + 5 * MINUTE]
    assert SET_BACK_MS < 365 * DAY


def test_a_slot_that_has_its_job_gets_no_second_even_when_the_entry_is_added_anew(q):
    put(q._store, entry())
    run(q._store, BASE + 5 * MINUTE)
    put(q._store, entry())
    assert run(q._store, BASE + 6 * MINUTE) == [0]
    with pytest.raises(Exception, match="UNIQUE constraint"), q._store.write() as sql:
        sql.execute("insert into jobs select 99, 'second' as id, " + _others(sql) + " from jobs")


def _others(sql):
    return ", ".join(r[1] for r in sql.execute("pragma table_info(jobs)") if r[1] not in ("seq", "id"))


def test_a_runner_that_was_frozen_between_decision_and_write_turns_nothing_back(q):
    late = put(q._store, entry())
    run(q._store, BASE + 5 * MINUTE, BASE + 10 * MINUTE)
    with q._store.write():
        assert not q._store.schedules.advance(late, next_ms=BASE + 5 * MINUTE, last_ms=BASE, error=None)
    assert q._store.schedules.get("e").next_ms == BASE + 15 * MINUTE
    now = q._store.schedules.get("e")
    q.schedule.pause("e")
    with q._store.write():
        assert not q._store.schedules.advance(now, next_ms=None, last_ms=BASE, error=None)


def _ticker(path, barrier, answers, seed):
    store, dice = Store(path), random.Random(seed)
    rows = Enqueuer(store)
    barrier.wait()
    made, errors = 0, []
    for n in range(120):
        try:
            made += tick(store, now_ms=BASE + n * MINUTE + dice.randrange(MINUTE), enqueuer=rows)
        except Exception as e:
            errors.append(repr(e))
    answers.put((made, errors))


def test_many_runners_that_tick_at_once_make_one_job_a_slot(q):
    q.enqueue("true")
    put(q._store, entry("* * * * *", misfire="all"))
    put(q._store, entry("*/7 * * * *", name="f"))
    barrier, answers = SPAWN.Barrier(4), SPAWN.Queue()
    tickers = [SPAWN.Process(target=_ticker, args=(q.path, barrier, answers, n)) for n in range(4)]
    for t in tickers:
        t.start()
    got = [answers.get(timeout=60) for _ in tickers]
    for t in tickers:
        t.join()
    assert [e for _, errors in got for e in errors] == []
    assert slots(q._store) == [BASE + n * MINUTE for n in range(1, 120)]
    assert len(set(slots(q._store, "f"))) == len(slots(q._store, "f"))
    assert sum(n for n, _ in got) == 119 + len(slots(q._store, "f"))
    assert sum(n > 0 for n, _ in got) > 1, "only one of them ever made a job: nothing was contended"


# --- policies ---


@pytest.mark.parametrize(
    ("misfire", "late", "expected"),
    [
        ("one", 2 * HOUR + 3 * MINUTE, [2 * HOUR]),
        ("skip", 2 * HOUR + 3 * MINUTE, []),
        ("skip", 2 * HOUR + 30_000, [2 * HOUR]),
        ("all", 2 * HOUR + 3 * MINUTE, [n * 5 * MINUTE for n in range(1, 25)]),
    ],
)
def test_after_a_pause_of_all_workers_missed_slots_are_treated_as_asked(q, misfire, late, expected):
    put(q._store, entry(misfire=misfire))
    run(q._store, BASE + late)
    assert [s - BASE for s in slots(q._store)] == expected
    run(q._store, BASE + 2 * HOUR + 5 * MINUTE)
    assert slots(q._store)[len(expected) :] == [BASE + 2 * HOUR + 5 * MINUTE]


def test_a_long_pause_is_made_up_for_in_pieces_and_completely(q):
    put(q._store, entry("* * * * *", misfire="all"))
    assert run(q._store, *[BASE + 250 * MINUTE] * 4) == [100, 100, 50, 0]
    assert len(set(slots(q._store))) == 250


def test_no_new_job_while_one_of_before_is_unfinished_unless_overlap_is_allowed(q):
    put(q._store, entry(overlap="skip"))
    put(q._store, entry(name="f"))
    run(q._store, BASE + 5 * MINUTE, BASE + 10 * MINUTE)
    assert (len(slots(q._store)), len(slots(q._store, "f"))) == (1, 2)
    assert [(e.id, e.skipped) for e in q.schedule.list()] == [("e", 1), ("f", 0)]
    q.cancel(q._store.connection.rows("select id from jobs where schedule = 'e'")[0][0])
    run(q._store, BASE + 15 * MINUTE)
    assert slots(q._store) == [BASE + 5 * MINUTE, BASE + 15 * MINUTE]


def test_a_paused_schedule_enqueues_nothing_and_makes_up_for_nothing(q):
    now = processes.now_ms()
    put(q._store, entry("* * * * *", at=now - HOUR))
    assert q.schedule.pause("e").done == ("e",)
    assert run(q._store, now) == [0]
    assert q.schedule.list()[0].next_at is None
    q.schedule.resume("e")
    assert q._store.schedules.get("e").next_ms > now
    assert run(q._store, now) == [0]
    assert q.schedule.resume("e").skipped == (("e", "is not paused"),)


def test_the_job_of_a_slot_has_the_entrys_settings_and_todays_defaults(q, tmp_path):
    q.schedule.add("e", "@hourly", command="true", queue="night", timeout="5m", tag="a,b", env=["X=1"], cwd=str(tmp_path),
                   limit_key="disk", limit=2)  # fmt: skip
    q.config.set("max-retries", "9")
    run(q._store, processes.now_ms() + HOUR)
    (job,) = q.list()
    assert (job.queue, job.timeout_ms, job.max_retries, job.cwd) == ("night", 300_000, 9, str(tmp_path))
    assert (job.tag_list, job.env, job.limit_key, job.schedule) == (("a", "b"), '{"X": "1"}', "disk", "e")
    assert job.settings_from == {"timeout": "job", "max-retries": "config"}
    assert job.state is State.PENDING
    assert "X" not in str(q.schedule.list()[0].as_dict()["fields"])


def test_a_slot_that_cannot_be_enqueued_says_so_and_does_not_stop_the_others(q, tmp_path):
    gone = tmp_path / "gone"
    put(q._store, entry(cwd=str(gone)))
    put(q._store, entry(name="f"))
    said = []
    tick(q._store, now_ms=BASE + 5 * MINUTE, enqueuer=Enqueuer(q._store), tell=said.append)
    assert (slots(q._store), slots(q._store, "f")) == ([], [BASE + 5 * MINUTE])
    assert "cwd: expected an existing folder" in q._store.schedules.get("e").error
    assert any("no job for its slot" in line for line in said)
    gone.mkdir()
    run(q._store, BASE + 10 * MINUTE)
    assert slots(q._store) == [BASE + 10 * MINUTE]
    assert q._store.schedules.get("e").error is None


def test_an_entry_is_replaced_only_when_asked_and_removed_without_its_jobs(q):
    q.schedule.add("e", "@hourly", command="true")
    with pytest.raises(StateConflict):
        q.schedule.add("e", "@daily", command="false")
    assert q._store.schedules.get("e").command == "true"
    q.schedule.add("e", "@daily", command="false", replace=True)
    run(q._store, processes.now_ms() + 2 * DAY)
    q.schedule.remove("e")
    assert q.schedule.list() == []
    assert [j.command for j in q.list()] == ["false"]
    for verb in (q.schedule.remove, q.schedule.pause, q.schedule.resume):
        with pytest.raises(NothingMatched):
            verb("e")


# --- run-at ---


@pytest.fixture
def berlin(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2099-06-01T12:00:00+05:30", ms(2099, 6, 1, 6, 30)),
        ("2099-06-01T12:00Z", ms(2099, 6, 1, 12)),
        ("2099-06-01T12:00", ms(2099, 6, 1, 10)),
        ("2099-01-01", ms(2098, 12, 31, 23)),
        ("2027-03-28T02:30", ms(2027, 3, 28, 1, 30)),  # skipped: as far behind the gap as it lies in it
        ("2027-10-31T02:30", ms(2027, 10, 31, 0, 30)),  # twice: the first
        ("2027-10-31T02:30+01:00", ms(2027, 10, 31, 1, 30)),
    ],
)
def test_a_time_without_a_zone_is_local_whatever_the_clock_does(q, text, utc):
    job = q.enqueue("true", run_at=text)
    assert (job.state, job.run_at_ms) == (State.SCHEDULED, utc)
    assert q.enqueue("true", run_at="2020-01-01").state is State.PENDING


@pytest.mark.usefixtures("berlin")
def test_a_schedule_without_a_zone_is_in_this_machines(q):
    assert q.schedule.add("e", "@daily", command="true").zone == "Europe/Berlin"


# --- with real workers ---


@pytest.mark.process
def test_two_workers_run_each_slot_of_an_entry_once_and_at_its_time(q, start):
    workers = [start("-s", "30"), start("-s", "30")]
    await_true(lambda: len(q.workers()) == 2, what="two workers")
    q.schedule.add("e", "* * * * * *", command="true", overlap="allow", misfire="all")
    rows = "select slot_ms, created_at_ms, state from jobs where schedule = 'e' order by slot_ms"
    await_true(lambda: len(q._store.connection.rows(rows)) >= 3, what="three slots")
    q.schedule.pause("e")
    with contextlib.suppress(Exception):
        q.wait(timeout=10)
    for w in workers:
        w.terminate()
        assert w.wait(20) == 0
    found = q._store.connection.rows(rows)
    assert [s for s, _, _ in found] == [found[0][0] + n * 1000 for n in range(len(found))]
    assert all(made >= slot for slot, made, _ in found)
    assert {s for _, _, s in found} == {"completed"}


def test_an_entry_needs_no_name(q, place):
    """The line of a crontab alone is enough; it gets a name by which it is paused and removed."""
    words = ["schedule", "add", "*/5 * * * *", "-c", "true", "--db", str(place)]
    assert main(words, stdout=io.StringIO()) == 0
    (entry,) = q.schedule.list()
    assert (entry.cron, entry.command, len(entry.id)) == ("*/5 * * * *", "true", 8)
    assert q.schedule.add("@daily", command="true").cron == "@daily"
    assert q.schedule.remove(entry.id)
    with pytest.raises(InvalidValue, match="got 'nightly'"):
        q.schedule.add("nightly", command="true")
