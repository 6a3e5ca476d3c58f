"""Spools under two threads: the slot's, which takes what a run wrote, and the main one, which trims it."""

import os
import threading

import pytest

from queuectl.executors.spool import INLINE_MAX, Spool


def test_a_spool_may_be_trimmed_at_any_moment_of_being_taken(tmp_path):
    spool, over, faults = Spool(str(tmp_path / "spool"), cap=INLINE_MAX * 2), threading.Event(), []

    def trim():
        while not over.is_set():
            try:
                spool.trim()
            except OSError as e:
                faults.append(e)

    trimmer = threading.Thread(target=trim)
    trimmer.start()
    for n in range(600):
        text = bytes([65 + n % 26]) * (INLINE_MAX + 1)
        os.write(spool.handle, text)
        taken = spool.take(str(tmp_path / "kept"), renew=False)
        assert (taken.size, taken.text) == (len(text), text[-INLINE_MAX:])
        assert (tmp_path / "kept").read_bytes() == text
    over.set()
    trimmer.join()
    assert faults == []
    spool.discard()


@pytest.mark.parametrize("large", [INLINE_MAX + 1, 3 * INLINE_MAX])
def test_an_output_that_is_told_of_is_there_also_when_no_new_file_can_be_made(tmp_path, monkeypatch, large):
    spool = Spool(str(tmp_path / "spool"), cap=2 * INLINE_MAX)
    os.write(spool.handle, b"x" * large)

    def no_space():
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool, "_open", no_space)
    taken = spool.take(str(tmp_path / "kept"), renew=False)
    assert (taken.size, taken.text) == (large, b"x" * INLINE_MAX)
    kept = tmp_path / "kept"
    assert taken.file == (kept.name if large > spool.cap else None)
    assert kept.exists() == (taken.file is not None)
    assert not kept.exists() or kept.stat().st_size == spool.cap
    os.write(spool.handle, b"the next run")
    assert spool.take(str(tmp_path / "other"), renew=False).text == b"the next run"
    spool.discard()
