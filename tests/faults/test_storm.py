"""A small kill storm: what must hold at any speed. `scripts/soak` runs it in full and holds the times, too."""

import os
import random

import pytest
from storm import NEVER, Plan, Storm

pytestmark = pytest.mark.process
SEED = int(os.environ.get("QUEUECTL_SEED", random.randrange(1 << 30)))


def test_a_kill_storm_loses_nothing_and_runs_nothing_twice_at_once(tmp_path):
    print("seed", SEED)
    figures = Storm(Plan(150, 25, SEED, supervisors=2, max_interruptions=NEVER), tmp_path / "storm").run()
    assert figures.faults == []
    assert figures.kills.total() == 25
    assert figures.interrupted > 0


def test_killed_supervisors_are_never_held_against_their_jobs(tmp_path):
    print("seed", SEED)
    plan = Plan(60, 8, SEED, supervisors=2, victims=("supervisor",), max_interruptions=None)
    figures = Storm(plan, tmp_path / "storm").run()
    assert figures.faults == []
    assert figures.dead == 0
