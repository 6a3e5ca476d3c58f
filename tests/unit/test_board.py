"""The board: what a supervisor can still read of a runner that was killed."""

from queuectl.board import RING, Board


def test_a_slot_that_has_gone_on_still_tells_of_the_run_before():
    board = Board(2)
    board.started(0, 7, 1)
    board.started(0, 8, 1)
    board.started(1, 9, 3)
    assert board.runs() == {(7, 1), (8, 1), (9, 3)}


def test_as_many_runs_are_remembered_as_can_be_on_their_way():
    board = Board(1)
    for seq in range(1, RING + 2):
        board.started(0, seq, 1)
    assert board.runs() == {(seq, 1) for seq in range(2, RING + 2)}


def test_a_new_runner_starts_with_an_empty_board():
    board = Board(1)
    board.started(0, 7, 1)
    board.clear()
    assert board.runs() == frozenset()
