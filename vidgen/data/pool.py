"""Worker processes that decode: a crash or a hang costs one task, not the pool.

A task that kills its process (or runs too long) comes back as a WorkerError and the process is
replaced. Processes are also replaced after a number of tasks: leaks in decoders stay bounded.
While a process works on a task, a thread of it can get what the next one needs.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from vidgen.storage.tally import TALLY

Task = TypeVar("Task")
Result = TypeVar("Result")


class WorkerError(Exception):
    """The process of a task died or had to be killed."""


class WorkerTimeout(WorkerError):
    """A task ran longer than allowed."""


@dataclass(frozen=True, kw_only=True)
class Outcome(Generic[Task, Result]):
    """A finished task: `value`, or the `error` that it raised or that its process died of."""

    task: Task
    value: Result | None = None
    error: Exception | None = None

    def get(self) -> Result:
        """The value; raises the error."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]


@dataclass
class _Worker:
    """A process and the tasks it has, the one it works on first."""

    process: Any
    pipe: Connection
    tasks: deque[Any] = field(default_factory=deque)
    given: int = 0  # ever
    deadline: float = math.inf


class Pool(Generic[Task, Result]):
    """Runs `function(task)` in `workers` processes, started when first needed.

    Args:
        function: importable; it and the tasks are pickled.
        ahead: `function` is called with a task and what this returned for it. Runs in a thread of
            the process, one task ahead; what it raises becomes that task's error.
        timeout_s: longest time for a task.
        recycle: tasks after which a process is replaced.
    """

    def __init__(
        self,
        function: Callable[..., Result],
        *,
        workers: int,
        ahead: Callable[[Task], Any] | None = None,
        timeout_s: float | None = None,
        recycle: int = 500,
    ) -> None:
        self.function, self.ahead, self.workers = function, ahead, workers
        self._at_once = 1 if ahead is None else 2
        self.timeout_s, self.recycle = timeout_s, recycle
        self._all: list[_Worker] = []
        self._again: deque[Task] = deque()  # of processes that ended before they came to them

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome[Task, Result]]:
        """Outcomes as they come, in any order. Takes a task only when a process is free for it."""
        waiting = iter(tasks)
        more = True
        while True:
            while (more or self._again) and (worker := self._free()) is not None:
                if self._again:
                    self._give(worker, self._again.popleft())
                    continue
                try:
                    task = next(waiting)
                except StopIteration:
                    more = False
                else:
                    self._give(worker, task)
            busy = [worker for worker in self._all if worker.tasks]
            if not busy:
                return
            soonest = min(worker.deadline for worker in busy)
            patience = None if soonest == math.inf else max(0.0, soonest - time.monotonic())
            ready = wait([worker.pipe for worker in busy], timeout=patience)
            for worker in busy:
                if worker.pipe in ready:
                    yield self._take(worker)
                elif worker.deadline <= time.monotonic():
                    task = worker.tasks.popleft()
                    self._stop(worker)
                    message = f"took longer than {self.timeout_s:g} s"
                    yield Outcome(task=task, error=WorkerTimeout(message))

    def close(self) -> None:
        """Stop every process at once."""
        for worker in list(self._all):
            self._stop(worker)
        self._again.clear()

    def __enter__(self) -> Pool[Task, Result]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _free(self) -> _Worker | None:
        """A process for a task: an idle one, a new one, or one that can get something ahead."""
        for worker in [worker for worker in self._all if not worker.tasks]:
            if worker.process.is_alive():
                return worker
            self._stop(worker)  # died while idle: no task is to blame
        if len(self._all) >= self.workers:
            for worker in self._all:
                if len(worker.tasks) < self._at_once and worker.given < self.recycle:
                    return worker
            return None
        # 'spawn': a fork would copy threads' locks and the other workers' pipes.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        work = (self.function, self.ahead, theirs)
        process = context.Process(target=_serve, args=work, daemon=True)
        with _no_ctrl_c():
            process.start()
        theirs.close()
        worker = _Worker(process=process, pipe=ours)
        self._all.append(worker)
        return worker

    def _give(self, worker: _Worker, task: Task) -> None:
        worker.tasks.append(task)
        worker.given += 1
        if len(worker.tasks) == 1:
            worker.deadline = time.monotonic() + (self.timeout_s or math.inf)
        with suppress(OSError):  # it died while idle: _take finds out
            worker.pipe.send(task)

    def _take(self, worker: _Worker) -> Outcome[Task, Result]:
        task = worker.tasks.popleft()
        try:
            value, error, asked = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join(timeout=5)
            code = worker.process.exitcode
            self._stop(worker)
            return Outcome(task=task, error=WorkerError(f"its process died ({_cause(code)})"))
        TALLY.add(asked)
        worker.deadline = time.monotonic() + (self.timeout_s or math.inf)
        if worker.given >= self.recycle and not worker.tasks:
            self._stop(worker)
        return Outcome(task=task, value=value, error=error)

    def _stop(self, worker: _Worker) -> None:
        self._all.remove(worker)
        self._again.extend(worker.tasks)
        worker.pipe.close()
        worker.process.kill()
        worker.process.join()
        worker.process.close()


def _cause(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"


@contextmanager
def _no_ctrl_c() -> Iterator[None]:
    """A process started here inherits the blocked SIGINT: Ctrl-C while it imports is not its."""
    resource_tracker.ensure_running()  # its own start, within ours, would unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(
    function: Callable[..., Any], ahead: Callable[[Any], Any] | None, pipe: Connection
) -> None:
    """The worker process: it ends when the pipe does, that is with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.environ["OMP_NUM_THREADS"] = "1"
    given: queue.SimpleQueue[_Given | None] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(pipe, ahead, given), daemon=True).start()
    told = TALLY.counts()
    while (item := given.get()) is not None:
        value, problem = None, item.problem
        if problem is None:
            try:
                value = function(item.task, *item.got)
            except Exception as error:
                problem = error
        counts = TALLY.counts()
        asked, told = counts - told, counts
        try:
            pipe.send((value, problem, asked))
        except OSError:
            return


@dataclass(frozen=True)
class _Given:
    """A task, and what was got ahead for it or why that failed."""

    task: Any
    got: tuple[Any, ...] = ()
    problem: Exception | None = None


def _receive(
    pipe: Connection,
    ahead: Callable[[Any], Any] | None,
    given: queue.SimpleQueue[_Given | None],
) -> None:
    while True:
        try:
            task = pipe.recv()
        except (EOFError, OSError):
            given.put(None)
            return
        if ahead is None:
            given.put(_Given(task))
            continue
        try:
            given.put(_Given(task, (ahead(task),)))
        except Exception as error:
            given.put(_Given(task, problem=error))
