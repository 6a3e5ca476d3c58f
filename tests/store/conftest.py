"""Every store test ends with a look at every database it made."""

from __future__ import annotations

import contextlib
import os

import pytest
from harness import check_invariants

from queuectl.errors import DatabaseRefused
from queuectl.store import Store


@pytest.fixture(autouse=True)
def in_order_at_the_end(tmp_path):
    """Check the invariants of each database that a test leaves in its folder and that queuectl opens."""
    yield
    for folder, _, names in os.walk(tmp_path):
        for name in names:
            if name.endswith(".db"):
                with contextlib.suppress(DatabaseRefused):  # refusals are what those tests are about
                    store = Store(os.path.join(folder, name), create=False)
                    check_invariants(store)
                    store.close()
