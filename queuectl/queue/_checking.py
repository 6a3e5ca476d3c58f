"""The verb that looks for what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl import processes
from queuectl.queue._base import Base

if TYPE_CHECKING:
    from queuectl.doctor import Diagnosis


class Checking(Base):
    """Doctor."""

    def doctor(self) -> Diagnosis:
        """Look for what is wrong with the installation, the database and what waits in it; say what to do, and change nothing."""
        from queuectl.doctor import examine

        return examine(self.path, now_ms=processes.now_ms())
