"""Spools under two threads: the slot's, which takes what a run wrote, and the main one, which trims it."""

import os
import threading

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
