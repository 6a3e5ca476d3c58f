"""The rollback journal, the explicit setting for file systems without shared memory."""

import pytest

from queuectl.errors import DatabaseBusy
from queuectl.queue import Queue


def modes(queue):
    one = queue._store.connection.rows
    return one("pragma journal_mode")[0][0], one("pragma synchronous")[0][0]


def test_a_rollback_database_opens_without_the_setting_and_stays_what_it_is(place, monkeypatch):
    monkeypatch.setenv("QUEUECTL_JOURNAL", "rollback")
    first = Queue(place)
    first.enqueue("true", id="a")
    assert modes(first) == ("delete", 3)
    first.close()
    monkeypatch.delenv("QUEUECTL_JOURNAL")
    second = Queue(place)
    second.enqueue("true", id="b")
    assert modes(second) == ("delete", 3)
    second.close()


def test_a_wal_database_is_converted_when_the_rollback_journal_is_asked_for(place, monkeypatch):
    first = Queue(place)
    first.enqueue("true", id="a")
    monkeypatch.setenv("QUEUECTL_JOURNAL", "rollback")
    monkeypatch.setattr("queuectl._sqlite.BUSY_S", 0.2)
    second = Queue(place)
    with pytest.raises(DatabaseBusy):  # somebody still works with the log
        second.status()
    first.close()
    assert second.show("a").job.command == "true"
    assert modes(second) == ("delete", 3)
    second.close()
