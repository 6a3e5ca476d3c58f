"""Which file a path names and how long it is, without asking for its times.

Whoever asks Linux (from 6.13 on) for a file's times makes the next write note a new one, and a file whose times have changed takes longer to sync: a
`stat` after each commit made the next one a quarter slower. `statx` can be asked for less.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable

from queuectl.records import NamedTuple

_AT_FDCWD = -100
_INO, _SIZE = 0x100, 0x200  # what is asked for
_FIELDS = struct.Struct("<32x Q Q 88x I I")  # inode, size, device
_ROOM = 256


class Named(NamedTuple):
    """What a path names."""

    device: int
    inode: int
    size: int


def by_stat(path: str) -> Named:
    """Look with all that `stat` asks for."""
    found = os.stat(path)
    return Named(found.st_dev, found.st_ino, found.st_size)


def looker(path: str) -> Callable[[], Named]:
    """Return a function that looks at a file that is written to again and again; it raises OSError, and serves one thread at a time."""
    import ctypes  # not before a second look is needed: single commands do without

    try:
        statx = ctypes.CDLL(None, use_errno=True).statx
    except AttributeError:
        return lambda: by_stat(path)
    statx.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p)
    room = ctypes.create_string_buffer(_ROOM)
    asked = (_AT_FDCWD, os.fsencode(path), 0, _INO | _SIZE, ctypes.addressof(room))

    def by_statx() -> Named:
        if statx(*asked):
            code = ctypes.get_errno()
            if code in (errno.ENOSYS, errno.EPERM):  # an old kernel, or a container's filter
                return by_stat(path)
            raise OSError(code, os.strerror(code), path)
        inode, size, major, minor = _FIELDS.unpack_from(room)
        return Named(os.makedev(major, minor), inode, size)

    return by_statx
