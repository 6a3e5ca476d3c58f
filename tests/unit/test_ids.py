"""Ids: different, in order, each as unlikely as another to be one that is taken."""

import pytest

from queuectl.ids import ALPHABET, LENGTH, Ids, new_id, new_ids


@pytest.mark.parametrize("n", [1, 2, 35, 36, 37, 1296, 1297, 60_000])
def test_ids_of_a_batch_differ_and_ascend(n):
    ids = new_ids(n)
    found = list(ids)
    assert len(ids) == len(found) == n
    assert found == sorted(set(found))
    assert set("".join(found)) <= set(ALPHABET) and {len(i) for i in found} == {LENGTH}
    assert [ids[0], ids[-1]] == [found[0], found[-1]] and list(ids[1:3]) == found[1:3]
    with pytest.raises(IndexError):
        ids[n]


def test_batches_begin_anywhere_and_end_in_chance():
    batches = [new_ids(40) for _ in range(1000)]
    assert len({i for b in batches for i in b}) == 1000 * 40
    assert {b[0][0] for b in batches} == set(
        ALPHABET[:-1]
    )  # two are counted: the last one's first is taken up by 40
    assert {i[-1] for b in batches for i in b} == set(ALPHABET)


def test_those_that_are_taken_are_drawn_anew():
    ids = Ids("aaaaaaaabbbbbbbbcccccccc")
    found = ids.without({"bbbbbbbb"})
    assert [found[0], found[2]] == ["aaaaaaaa", "cccccccc"] and found[1] != "bbbbbbbb" and len(found) == 3
    assert len(new_id()) == LENGTH
