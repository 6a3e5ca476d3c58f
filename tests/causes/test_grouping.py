"""How well causes group real outputs; the figures are those of docs/causes.md."""

from __future__ import annotations

import json
import re

import grouping
import pytest

OUTPUTS = grouping.load()
GOLDEN = grouping.OUTPUTS.parent / "golden.json"


def test_there_are_real_outputs_enough_and_each_is_a_failure() -> None:
    assert len(OUTPUTS) >= 1690
    assert len({output.name for output in OUTPUTS}) == len(OUTPUTS)
    assert all(output.exit_code != 0 for output in OUTPUTS)


def test_the_grouping_is_no_worse_than_documented() -> None:
    whole = grouping.score_files()
    told = f"{len(whole.wrong_merges)} merges, {len(whole.wrong_splits)} splits\n{whole.row('all')}"
    assert (
        len(whole.wrong_merges) <= grouping.WRONG_MERGES and len(whole.wrong_splits) <= grouping.WRONG_SPLITS
    ), told


@pytest.mark.parametrize(
    "word", ["/root", "/work", "pypi", "npmjs", "crates.io", "maven.org", "apache.org/maven2"]
)
def test_no_output_tells_where_it_was_made(word) -> None:
    for path in grouping.OUTPUTS.glob("*.json"):
        assert not re.search(re.escape(word) + r"\b", path.read_text()), path.name


def test_a_change_of_sigs_needs_a_new_version() -> None:
    """Golden sigs: when this fails, raise VERSION and run scripts/score_causes --golden."""
    golden = json.loads(GOLDEN.read_text())
    by_name = {output.name: output for output in OUTPUTS}
    assert {name: by_name[name].cause().sig for name in golden["sigs"]} == golden["sigs"]
    assert golden["version"] == grouping.VERSION
