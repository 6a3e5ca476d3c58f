"""A runner's memory is bounded: few pages of the file, large blocks in mappings of their own, and no heap for each thread."""

import subprocess
import sys
from pathlib import Path

import pytest
from harness import await_true, runner_pid

from queuectl.board import Board
from queuectl.model import State
from queuectl.runner import CACHE_KIB, Options, Runner
from queuectl.store import Store

ROOT = Path(__file__).resolve().parents[2]
HEAP_MAX = (
    64 << 20
)  # glibc reserves so much for a heap that is not the first, and places it at a multiple of that


def cache_size(store):
    return store.connection.rows("pragma cache_size")[0][0]


def test_a_store_keeps_as_many_pages_as_it_was_given(place):
    plain, small = Store(str(place)), Store(str(place), cache_kib=64)
    assert cache_size(small) == -64
    assert cache_size(plain) < -64
    plain.close()
    small.close()


def test_a_runners_connection_keeps_half_a_mebibyte_of_pages(q):
    runner = Runner(Options(q.path), Board(1))
    assert cache_size(runner.store) == -CACHE_KIB == -512
    runner.store.close()


# Blocks of the C library say in the word before them whether they have a mapping of their own. Sixty-four are more than fit into the
# holes that the heap has anyway, from which a block of any size may be taken.
BLOCKS = """
import ctypes, sys
from queuectl import processes
if sys.argv[1] == "bound":
    processes.bound_heap()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]

def most_are_mapped(size):
    blocks = [libc.malloc(size) for _ in range(64)]
    mapped = sum(ctypes.c_size_t.from_address(b - 8).value >> 1 & 1 for b in blocks)
    return mapped > 32

libc.free(libc.malloc(8 << 20))  # by itself the C library puts blocks of up to this size on the heap from now on
print(*(most_are_mapped(size) for size in (1 << 20, processes.MMAP_BYTES, processes.MMAP_BYTES // 2)))
"""


@pytest.mark.process
@pytest.mark.parametrize(("how", "mapped"), [("bound", "True True False"), ("as it is", "False False False")])
def test_large_blocks_go_back_to_the_system_at_once(how, mapped):
    ran = subprocess.run(
        [sys.executable, "-c", BLOCKS, how], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == mapped


def heaps(pid):
    """How many heaps a process has besides its first."""
    found = set()
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        place, rights, _, device, *_ = line.split()
        start, end = (int(x, 16) for x in place.split("-"))
        if rights == "rw-p" and device == "00:00" and start % HEAP_MAX == 0 and end - start <= HEAP_MAX:
            found.add(start)
    return len(found)


@pytest.mark.process
def test_the_threads_of_a_runner_share_two_heaps(q, start):
    """Six slots' threads would have one each."""
    q.enqueue_many(["true"] * 60)
    start("-c", "6", "-s", "1")
    await_true(lambda: q._store.jobs.counts()[State.COMPLETED] == 60, what="the jobs")
    runner = runner_pid(q)
    assert len(list(Path(f"/proc/{runner}/task").iterdir())) >= 7
    assert heaps(runner) <= 1
