"""A stand-in for the queue, with the real one's signatures, that remembers what it was asked."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NamedTuple

import pytest

from queuectl.cli import main


class FakeDlq:
    """The dead letter queue."""

    _python_only: ClassVar = frozenset({"frame"})

    def __init__(self, queue: FakeQueue) -> None:
        self.queue = queue

    def list(self, *, limit: int = 100) -> str:
        """List dead jobs."""
        return self.queue._asked("dlq list", limit=limit)

    def retry(self, *ids: Any, sig: str | None = None, dry_run: bool = False) -> str:
        """Requeue dead jobs.

        Args:
            ids: Ids of dead jobs.
            sig: Only this cause.
            dry_run: Say what would be done, and do nothing.
        """
        return self.queue._asked("dlq retry", ids=ids, sig=sig, dry_run=dry_run)

    def purge(self, *, dry_run: bool = False) -> str:
        """Delete dead jobs."""
        return self.queue._asked("dlq purge", dry_run=dry_run)

    def frame(self) -> None:
        """Python only."""


class FakeConfig:
    """Settings."""

    def __init__(self, queue: FakeQueue) -> None:
        self.queue = queue

    def get(self, key: str | None = None) -> str:
        """Show settings."""
        return self.queue._asked("config get", key=key)

    def set(self, key: str, value: Any) -> str:
        """Change a setting."""
        return self.queue._asked("config set", key=key, value=value)


class FakeQueue:
    """A queue whose verbs only remember."""

    _python_only: ClassVar = frozenset({"jobs", "close"})
    _groups: ClassVar = {"dlq": FakeDlq, "config": FakeConfig}
    calls: ClassVar[list[tuple[str, dict[str, Any]]]] = []
    paths: ClassVar[list[Any]] = []
    fails: ClassVar[BaseException | None] = None
    returns: ClassVar[Any] = "done"

    def __init__(self, path: Any = None) -> None:
        self.paths.append(path)
        self.dlq = FakeDlq(self)
        self.config = FakeConfig(self)
        self.conn = "not a verb"

    def _asked(self, verb: str, **given: Any) -> Any:
        self.calls.append((verb, {k: v for k, v in given.items() if v not in (None, False)}))
        if self.fails is not None:
            raise self.fails
        return self.returns

    def close(self) -> None:
        """Python only."""

    def jobs(self) -> None:
        """Python only."""

    def _secret(self) -> None:
        """Private."""

    def enqueue(
        self,
        command: str,
        *,
        id: str | None = None,
        priority: int | None = None,
        timeout: float | str | None = None,
        max_retries: int | None = None,
        backoff_base: float | None = None,
        keep_children: bool | None = None,
        tag: str | Iterable[str] | None = None,
    ) -> Any:
        """Add a command to the queue.

        It runs as soon as a worker is free.

        Args:
            command: The shell command, kept byte for byte.
            id: The job's id; 8 random characters by default.
            priority: Higher runs first.
            timeout: Time limit of one run: seconds, or a time such as 90s, 10m, 2h.
            max_retries: Failed attempts
                before the job is dead.
            backoff_base: Base of the delay, seconds.
            keep_children: Leave what the command left running.
            tag: A name to find it by; may be given several times.

        Returns:
            The job.

        Raises:
            InvalidValue: A value is not understood; nothing is enqueued.
        """
        return self._asked(
            "enqueue",
            command=command,
            id=id,
            priority=priority,
            timeout=timeout,
            max_retries=max_retries,
            backoff_base=backoff_base,
            keep_children=keep_children,
            tag=tag,
        )

    def enqueue_many(self, source: str | Iterable[str], *, queue: str | None = None) -> Any:
        """Add many commands from a file."""
        return self._asked("enqueue-many", source=source, queue=queue)

    def map(self, template: str, params: str, *, queue: str | None = None) -> Any:
        """Add one job for each row of a table."""
        return self._asked("map", template=template, params=params, queue=queue)

    def list(self, *, state: str | None = None, queue: str | None = None, limit: int = 100) -> Any:
        """List jobs.

        Args:
            state: Only jobs in this state.
            queue: Only this queue.
            limit: At most so many, the newest.
        """
        return self._asked("list", state=state, queue=queue, limit=limit)

    def show(self, id: str) -> Any:
        """Show a job."""
        return self._asked("show", id=id)

    def status(self, *, limit: int = 50) -> Any:
        """Show the queue at a glance."""
        return self._asked("status", limit=limit)

    def pause(self, queue: str | None = None) -> Any:
        """Stop claims."""
        return self._asked("pause", queue=queue)

    def worker(
        self,
        *,
        verbose: bool = False,
        count: int = 1,
        sleep: float = 3.0,
        limit: int | None = None,
        stop: bool = False,
    ) -> None:
        """Run jobs until stopped."""
        self._asked("worker", verbose=verbose, count=count, sleep=sleep, limit=limit, stop=stop)


class Ended(NamedTuple):
    """How a command line ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeQueue]:
    """The stand-in, forgetful."""
    FakeQueue.calls.clear()
    FakeQueue.paths.clear()
    monkeypatch.setattr(FakeQueue, "fails", None)
    monkeypatch.setattr(FakeQueue, "returns", "done")
    return FakeQueue


@pytest.fixture
def typed(fake: type[FakeQueue]) -> Callable[..., Ended]:
    """Run a command line against the stand-in."""

    def run(*argv: str) -> Ended:
        out, err = io.StringIO(), io.StringIO()
        code = main(argv, stdout=out, stderr=err, api=fake)
        return Ended(code, out.getvalue(), err.getvalue())

    return run
