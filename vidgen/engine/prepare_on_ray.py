"""`vidgen data prepare --ray`: sources are cut by tasks all over a Ray cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from vidgen.config.prepare import PrepareOptions
from vidgen.data.cut import Job, Record, cut
from vidgen.data.pool import Outcome, WorkerError, WorkerTimeout
from vidgen.engine.ray_train import joined_ray

_RETRIES = 1  # of a task whose worker or node went away
_LOOK_S = 1.0  # between looks for tasks that take too long


def on_ray(jobs: list[Job], options: PrepareOptions) -> Iterator[Outcome[Job, Record]]:
    """A task per source, as many at a time as the cluster has cores or `options.workers` says.

    SRC and DEST must be places that every node reaches: s3://, or a shared folder.
    """
    if not jobs:
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with joined_ray(options.workers or len(os.sched_getaffinity(0)), 0):
        at_once = options.workers or max(1, int(_cpus()))
        task = ray.remote(num_cpus=1, max_retries=_RETRIES)(cut)
        waiting, running = iter(jobs), dict[Any, tuple[Job, float]]()
        while True:
            while len(running) < at_once and (job := next(waiting, None)) is not None:
                running[task.remote(job)] = (job, time.monotonic() + options.timeout_s)
            if not running:
                return
            ready, _ = ray.wait(list(running), num_returns=1, timeout=_LOOK_S)
            for reference in ready:
                yield _outcome(reference, running.pop(reference)[0])
            now = time.monotonic()
            for reference in [r for r, (_, deadline) in running.items() if deadline < now]:
                ray.cancel(reference, force=True)
                late = WorkerTimeout(f"took longer than {options.timeout_s:g} s")
                yield Outcome(task=running.pop(reference)[0], error=late)


def _cpus() -> float:
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return resources.get("CPU", 1)


def _outcome(reference: Any, job: Job) -> Outcome[Job, Record]:
    try:
        return Outcome(task=job, value=ray.get(reference))
    except RayTaskError as error:
        cause = error.cause
        return Outcome(task=job, error=cause if isinstance(cause, Exception) else error)
    except RayError as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return Outcome(task=job, error=WorkerError(f"its process died ({reason})"))
