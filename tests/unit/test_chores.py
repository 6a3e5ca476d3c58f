"""Chores: due when they say, looked at when others wrote or the clock was set, and free otherwise."""

from queuectl.chores import LOOK_MS, Chore, Chores, Moment


class Noted(Chore):
    """Writes down what it is asked."""

    def __init__(self, at_ms=None):
        self.at_ms, self.looks, self.tended = at_ms, 0, 0

    def look(self, _now):
        self.looks += 1

    def due_in_ms(self, now):
        return None if self.at_ms is None else self.at_ms - now.wall_ms

    def tend(self, _now):
        self.tended += 1
        self.at_ms = None
        return True


def at(ms, wall_ahead=1_000_000):
    return Moment(wall_ahead + ms, ms)


def test_without_chores_nothing_is_ever_due():
    none = Chores([])
    none.notice()
    assert none.next_due_s(at(5)) is None
    assert not none.tend(at(5))


def test_a_chore_is_tended_when_it_is_due_and_not_before():
    chore = Noted(1_002_000)
    chores = Chores([chore])
    assert not chores.tend(at(0))
    assert chores.next_due_s(at(500)) == 1.5
    assert chores.tend(at(2000))
    assert (chore.tended, chores.next_due_s(at(2001))) == (1, None)


def test_the_database_is_looked_at_only_after_somebody_else_wrote_and_not_too_often():
    chore = Noted()
    chores = Chores([chore])
    for ms in range(0, 50, 10):
        chores.tend(at(ms))
    assert chore.looks == 1
    chores.notice()
    assert chores.next_due_s(at(50)) == (LOOK_MS - 50) / 1000
    chores.tend(at(50))
    assert chore.looks == 1
    chores.tend(at(LOOK_MS))
    assert (chore.looks, chores.next_due_s(at(LOOK_MS))) == (2, None)


def test_a_clock_that_was_set_is_a_reason_to_look():
    chore = Noted()
    chores = Chores([chore])
    chores.tend(at(0))
    chores.tend(at(1000, wall_ahead=1_000_900))
    assert chore.looks == 1
    chores.tend(at(2000, wall_ahead=-80_000_000))
    assert chore.looks == 2
