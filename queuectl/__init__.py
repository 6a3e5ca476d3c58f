"""queuectl: run and repair background jobs kept in one SQLite file.

from queuectl import Queue
q = Queue()
q.enqueue("echo hello")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from queuectl.answers import Cause as Cause
    from queuectl.errors import QueuectlError as QueuectlError
    from queuectl.model import Job as Job
    from queuectl.model import State as State
    from queuectl.queue import Queue as Queue

__version__ = "0.1.0"

# Loaded when first asked for, so that `import queuectl` costs nothing.
_PLACES = {
    "Queue": "queue",
    "Cause": "answers",
    "Job": "model",
    "Run": "model",
    "State": "model",
    "Outcome": "model",
    "QueuectlError": "errors",
}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        from importlib import import_module

        return getattr(import_module(f"queuectl.{_PLACES[name]}"), name)
    raise AttributeError(f"module 'queuectl' has no attribute {name!r}")


def load_ipython_extension(shell: Any) -> None:
    """Give IPython the magics `%queuectl` and `%%enqueue`: `%load_ext queuectl`."""
    from queuectl.magics import load

    load(shell)


def __dir__() -> list[str]:
    return [*globals(), *_PLACES]
