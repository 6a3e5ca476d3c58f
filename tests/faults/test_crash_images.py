"""A power cut at any moment loses nothing that was acknowledged: some hundred images here, thousands by `scripts/crash_images`."""

import os

import pytest
from crash_images import build_recorder, record, try_images
from crash_workloads import SCENARIOS

SEED = int(os.environ.get("QUEUECTL_TEST_SEED", "20"))
POLICIES = ("lost", "torn")


@pytest.fixture(scope="session")
def recorder(tmp_path_factory):
    return build_recorder(tmp_path_factory.mktemp("recorder"))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_nothing_acknowledged_is_lost_and_nothing_is_corrupt(recorder, tmp_path, scenario):
    tally = try_images(record(recorder, tmp_path, scenario), tmp_path, seed=SEED, cuts=20, policies=POLICIES)
    assert tally.images == 40 and tally.told > 0
    assert (tally.lost, tally.corrupt) == ([], [])


@pytest.mark.parametrize("scenario", ["enqueue", "worker"])
def test_the_rollback_journal_keeps_the_same_promise(recorder, tmp_path, scenario, monkeypatch):
    monkeypatch.setenv("QUEUECTL_JOURNAL", "rollback")
    operations = record(recorder, tmp_path, scenario, journal="rollback")
    tally = try_images(operations, tmp_path, seed=SEED, cuts=20, policies=POLICIES)
    assert (tally.images, tally.lost, tally.corrupt) == (40, [], [])


@pytest.mark.parametrize(
    ("scenario", "without", "breaks"),
    [
        ("config", "normal", "lost"),
        ("enqueue", "off", "corrupt"),
        ("worker", "off", "lost"),
        ("config", "folder", "lost"),
    ],
)
def test_the_images_find_what_is_wrong_without_the_syncs(recorder, tmp_path, scenario, without, breaks):
    operations = record(recorder, tmp_path, scenario, without=without)
    assert getattr(try_images(operations, tmp_path, seed=SEED, cuts=12, policies=POLICIES), breaks)
