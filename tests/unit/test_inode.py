"""Which file a path names: the same as `stat` says, without asking for its times."""

import ctypes
import errno
import os

import pytest

from queuectl import inode


def test_it_is_what_stat_says(tmp_path):
    path = tmp_path / "ä file"
    path.write_bytes(b"12345")
    look = inode.looker(str(path))
    assert look() == inode.by_stat(str(path)) and look().size == 5
    link = tmp_path / "link"
    link.symlink_to(path)
    assert inode.looker(str(link))() == look()
    path.write_bytes(b"123456")
    assert look().size == 6
    other = tmp_path / "other"
    other.write_bytes(b"")
    os.replace(other, path)
    assert look() == inode.by_stat(str(path)) and look().size == 0


def test_a_file_that_is_gone_is_an_error_of_the_system(tmp_path):
    path = tmp_path / "file"
    path.touch()
    look = inode.looker(str(path))
    path.unlink()
    with pytest.raises(FileNotFoundError, match="file"):
        look()


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EPERM])
def test_where_the_system_refuses_the_question_stat_answers_it(tmp_path, monkeypatch, code):
    path = tmp_path / "file"
    path.write_bytes(b"123")

    class Libc:
        @staticmethod
        def statx(*_):
            ctypes.set_errno(code)
            return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Libc)
    assert inode.looker(str(path))() == inode.by_stat(str(path))


def test_a_library_without_the_question_is_asked_for_all(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"123")
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
    assert inode.looker(str(path))() == inode.by_stat(str(path))
