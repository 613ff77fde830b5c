"""Training on Ray Train workers: what the driver does, and what each worker runs."""

from __future__ import annotations

import logging
import math
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
import ray.train
import torch
from ray.train import ControllerError, FailureConfig, ScalingConfig, WorkerGroupError
from ray.train import RunConfig as RayRunConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device

from vidgen.config.run import RunConfig, ScaleConfig
from vidgen.engine.distributed import join_ranks
from vidgen.engine.ray_link import (
    DriverWishes,
    LinkDisplay,
    LinkHandle,
    News,
    draining_nodes,
    start_link,
)
from vidgen.engine.stop import Stop
from vidgen.engine.train import run_rank
from vidgen.errors import ConfigError, Interrupted, TrainingError, VidgenError
from vidgen.observe.progress import Display, Nobody

_POLL_S = 0.25  # how soon the driver notices Ctrl-C
_END_TOGETHER_S = 10.0  # how long a rank with an error waits for the others to have it too
_DRAIN_POLL_S = 1.0  # how soon it notices that a node is about to be taken away
_LEAVE_EARLY_S = 60.0  # how long ranks have to save and end when the driver gives up
_LEAVE_S = 300.0  # how long ranks that have saved wait for that
_OBJECT_STORE_BYTES = 100 * 1024**2  # of a Ray started here; hardly anything passes through it


def run_on_ray(config: RunConfig, stop: Stop, display: Display) -> None:
    """Train a prepared run on `scale.workers` ranks and follow it to its end.

    Uses the Ray that RAY_ADDRESS names (as inside a Ray job), else starts one on this machine.

    Raises:
        Interrupted: stopped after saving, or before the first worker ran.
        VidgenError: as a rank raised it.
        TrainingError: workers died more than `scale.max_failures` times or did not start in time.
    """
    scale = config.scale
    _settle(scale)
    cpus, gpus = scale.workers * scale.cpus_per_worker, scale.workers * scale.gpus_per_worker
    with joined_ray(cpus, gpus), tempfile.TemporaryDirectory(prefix="vidgen-ray-") as scratch:
        stop.listen()  # Ray's own handler of SIGTERM ends the process
        display.say(f"starting {_count(config.scale)} workers on Ray")
        link = start_link()
        fit = _Fit(_trainer(config, link, scratch))
        try:
            _follow(fit, link, stop, display)
        except BaseException:
            # Workers that lose their driver keep their placement group for as long as the job
            # lasts, which here may be a whole sweep.
            link.stop.remote()
            fit.wait(_LEAVE_EARLY_S)
            raise
        outcome: VidgenError | None = ray.get(link.outcome.remote())
        if outcome is not None:
            raise outcome
        fit.check(config)


def _follow(fit: _Fit, link: LinkHandle, stop: Stop, display: Display) -> None:
    """Show the workers' news and pass on the wish to stop until training ends."""
    started = told = False
    drained, look_at = frozenset[str](), 0.0
    while True:
        running = fit.running()  # asked before the news, so that none is missed
        news: list[News] = ray.get(link.news.remote(_POLL_S if running else 0.0))
        for kind, value in news:
            started = True
            (display.show if kind == "show" else display.say)(value)
        if not running:
            return
        if time.monotonic() >= look_at:
            look_at = time.monotonic() + _DRAIN_POLL_S
            if (found := draining_nodes()) != drained:
                drained = found
                link.drain.remote(drained)
        if stop.requested() and not started:
            raise Interrupted("interrupted before training started; there was nothing to save")
        if stop.requested() and not told:
            link.stop.remote()
            told = True


class _Fit:
    """`trainer.fit()` in a thread: signals stay with the main one, which Ray would take over."""

    def __init__(self, trainer: TorchTrainer) -> None:
        self._trainer = trainer
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="ray-train", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._trainer.fit()
        except BaseException as error:  # raised again, in plain words, by `check`
            self._error = error

    def running(self) -> bool:
        return self._thread.is_alive()

    def wait(self, seconds: float) -> None:
        """Until training has ended, or the time is over."""
        self._thread.join(seconds)

    def check(self, config: RunConfig) -> None:
        """Raise what ended training too early."""
        if isinstance(self._error, WorkerGroupError):
            failures = config.scale.max_failures
            rank, cause = _first_cause(self._error.worker_failures)
            raise TrainingError(
                f"worker {rank} failed, and {failures} restarts are used up: {cause}",
                fix=f"The last checkpoint is safe: vidgen train --resume {config.run}",
            ) from self._error
        if isinstance(self._error, ControllerError):
            scale = config.scale
            raise TrainingError(
                f"{_count(scale)} workers with {scale.cpus_per_worker:g} CPU and "
                f"{scale.gpus_per_worker:g} GPU each did not start within "
                f"{scale.start_timeout_s} s: {_last_line(self._error.controller_failure)}",
                fix="Ask for less (scale.*), or raise scale.start_timeout_s if nodes come late.",
            ) from self._error
        if self._error is not None:
            raise TrainingError(
                f"Ray could not run the training: {_last_line(self._error)}",
                fix=f"Go on with: vidgen train --resume {config.run}",
            ) from self._error


def _trainer(config: RunConfig, link: LinkHandle, scratch: str) -> TorchTrainer:
    scale = config.scale
    gpu = scale.gpus_per_worker > 0
    resources = {"CPU": scale.cpus_per_worker} | ({"GPU": scale.gpus_per_worker} if gpu else {})
    workers: Any = (scale.min_workers, scale.workers) if scale.min_workers else scale.workers
    return TorchTrainer(
        _worker,
        train_loop_config={"config": config, "link": link},
        torch_config=TorchConfig(backend="nccl" if gpu else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=workers,
            elastic_resize_monitor_interval_s=scale.resize_every_s,  # type: ignore[call-arg]
            use_gpu=gpu,
            resources_per_worker=resources,
        ),
        run_config=RayRunConfig(
            # Checkpoints and metrics are the run folder's; Ray keeps its own notes apart, under a
            # name of their own, so that no attempt finds those of another.
            name=f"{config.name}-{uuid.uuid4().hex[:8]}",
            storage_path=scratch,
            failure_config=FailureConfig(
                max_failures=scale.max_failures,
                controller_failure_limit=scale.max_failures,  # type: ignore[call-arg]  # V2 has it
            ),
        ),
    )


def _worker(given: dict[str, Any]) -> None:
    """What each Ray Train worker runs; again after a failure, from the last checkpoint."""
    config: RunConfig = given["config"]
    link: LinkHandle = given["link"]
    if ray.get(link.outcome.remote()) is not None:
        return  # a restart cannot help: a person has to read why
    device = get_device() if config.scale.gpus_per_worker else torch.device("cpu")
    world, wishes = ray.train.get_context().get_world_size(), DriverWishes(link)
    try:
        with join_ranks(device) as ranks:
            run_rank(
                config,
                ranks,
                wishes.stop,
                LinkDisplay(link) if ranks.lead else Nobody(),
                ray.train.report,
                save_wanted=wishes.leave,
                leave=_wait_for_the_end,
            )
    except VidgenError as outcome:
        if not ray.get(link.finish.remote(outcome, world, _END_TOGETHER_S)):
            raise  # Ray ends the other ranks, which may be waiting for this one


def _wait_for_the_end() -> None:
    """All is saved and a node is about to go: steps done now would be done again.

    Ray ends the ranks with the node, and starts them anew on those that are left.
    """
    time.sleep(_LEAVE_S)
    raise RuntimeError(f"a node that was to be taken away is still there after {_LEAVE_S:g} s")


def _count(scale: ScaleConfig) -> str:
    return f"{scale.min_workers} to {scale.workers}" if scale.min_workers else str(scale.workers)


@contextmanager
def joined_ray(cpus: float, gpus: float) -> Iterator[None]:
    """The Ray of this process, of RAY_ADDRESS, or one of its own; silent on the terminal.

    Args:
        cpus: of a Ray started here. Logical: more workers than cores is the user's choice.
        gpus: that this machine must have for it.
    """
    if ray.is_initialized():
        yield
        return
    # A person at a terminal wants progress alone; the log of a run on a cluster wants every rank.
    output = os.environ.get("VIDGEN_WORKER_OUTPUT") == "1"
    quiet: dict[str, Any] = {"log_to_driver": output, "logging_level": logging.ERROR}
    address = os.environ.get("RAY_ADDRESS")
    if address:
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise TrainingError(
                f"cannot join the Ray cluster at RAY_ADDRESS={address}: {_last_line(error)}",
                fix="Unset RAY_ADDRESS to train on this machine.",
            ) from None
    else:
        if gpus > torch.cuda.device_count():
            raise ConfigError(
                f"scale asks for {gpus:g} GPUs and this machine has {torch.cuda.device_count()}",
                fix="Lower scale.workers or scale.gpus_per_worker, or join a Ray cluster.",
            )
        try:
            ray.init(
                address="local",
                num_cpus=math.ceil(cpus),
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                **quiet,
            )
        except (
            Exception
        ) as error:  # a bare Exception is what Ray raises when it comes up too slowly
            ray.shutdown()
            raise TrainingError(
                f"Ray did not start on this machine: {_last_line(error)}",
                fix="Try again when it is less busy, or train without Ray: --workers 0.",
            ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _settle(scale: ScaleConfig) -> None:
    """Ray's settings that have no argument; what the user has set stays."""
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = str(scale.start_timeout_s)
    for name, value in {
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths mean what they meant to the driver
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else each worker warns about it
    }.items():
        os.environ.setdefault(name, value)


def _first_cause(failures: dict[int, Exception]) -> tuple[int, str]:
    """The failure that explains the others: not a rank that lost its connection to a dead one."""

    def echo(item: tuple[int, Exception]) -> bool:
        return "onnection" in str(item[1])

    rank, error = min(failures.items(), key=lambda item: (echo(item), item[0]))
    return rank, _last_line(error)


def _last_line(error: BaseException) -> str:
    """The one line of an exception that says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
