"""The training loop. One loop for every model family, on any number of ranks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from vidgen.config.run import EarlyStopConfig, RunConfig
from vidgen.data.buckets import BucketPlan
from vidgen.data.dataset import Dataset
from vidgen.data.loader import batches
from vidgen.engine.blame import clips_of
from vidgen.engine.collector import settled_heap
from vidgen.engine.distributed import Ranks, Vote
from vidgen.engine.early_stop import Progress
from vidgen.engine.flops import StepFlops, matmul_rate
from vidgen.engine.meter import Meter, Watch, lag
from vidgen.engine.persist import Errands
from vidgen.engine.samples import write_samples
from vidgen.engine.saver import Saver
from vidgen.engine.state import State
from vidgen.engine.step import Stepper
from vidgen.engine.validate import validate
from vidgen.engine.watchdog import Watchdog
from vidgen.errors import Interrupted
from vidgen.observe.recorder import Recorder
from vidgen.storage.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Job:
    """What one rank needs to train.

    Attributes:
        config, dataset, state, folder, ranks: as everywhere.
        recorder: writes metrics on rank 0 and nothing elsewhere.
        stop_wanted: whether someone asked this rank to stop.
        save_wanted: whether this rank is about to be taken away, so that a checkpoint is due now.
        leave: called after such a checkpoint; waits for the end that has been announced.
        say: hears what a person should know.
        report: called with a step's metrics on every rank, equally often; Ray Train's barrier.
        progress: the validation scores so far.
    """

    config: RunConfig
    dataset: Dataset
    state: State
    folder: RunFolder
    ranks: Ranks
    recorder: Recorder
    stop_wanted: Callable[[], bool]
    report: Callable[[dict[str, float]], None]
    save_wanted: Callable[[], bool] = lambda: False
    leave: Callable[[], None] = lambda: None
    say: Callable[[str], None] = lambda text: None
    progress: Progress = field(default_factory=lambda: Progress(EarlyStopConfig()))


def run_loop(job: Job) -> None:
    """Train from `state.step` to `train.steps`, or until `progress` ends the run early.

    A checkpoint of the last step is left in either case.

    Raises:
        Interrupted: asked to stop; a checkpoint of the last step done is saved.
        TrainingError: the loss is no longer finite.
        StorageError: a checkpoint could not be written.
    """
    if job.progress.ended() is None:
        run = _Run(job)
        with settled_heap():
            run.steps()


class _Run:
    """A run from its first step here to its last."""

    def __init__(self, job: Job) -> None:
        config, ranks, train = job.config, job.ranks, job.config.train
        self.job, self.state, self.train = job, job.state, train
        self.flops = StepFlops(config, ranks.device)
        rate = matmul_rate(ranks.device, job.state.precision.kind)
        self.meter = Meter(ranks.device, rate)
        self.watch = Watch(ranks, partial(clips_of, job.dataset, config))
        self.stepper = Stepper(config, job.state, ranks, self.meter, self.watch)
        self.saver = Saver(
            job.folder,
            ranks,
            keep=train.keep_checkpoints,
            patience_s=train.save_patience_s,
            say=job.say,
            before_commit=job.recorder.flush,
        )
        self.vote = Vote(
            ranks,
            stop=job.stop_wanted,
            leave=job.save_wanted,
            saved=self.saver.ended,
            save=self.saver.owed,
        )
        self.watchdog = Watchdog(job.folder, ranks, limit_s=train.hang_timeout_s, say=job.say)
        self.plan, self.errands = BucketPlan(config), Errands(job.say)
        ends_early = config.early_stop.patience > 0 or config.reward is not None
        self.best = max(train.keep_best, int(ends_early))

    def steps(self) -> None:
        job, state, train = self.job, self.state, self.train
        stream = batches(
            job.dataset,
            job.config,
            split="train",
            rank=job.ranks.rank,
            world=job.ranks.world,
            start_step=state.step,
            conditions=sorted(state.objective.model.conditions),
            device=job.ranks.device,
        )
        state.objective.train()
        with closing(stream), self.watchdog, closing(self.saver), closing(self.errands):
            if self.owed():
                self.validate()
                if job.progress.ended() is not None:
                    return
            if job.config.reward is not None and state.step == 0:
                self.sample()  # what the start makes, for the end to be seen beside it
            todo = range(state.step, train.steps)
            for _, batch in zip(todo, self.meter.steps(stream), strict=False):
                self.watchdog.beat("training", state.step + 1)
                self.vote.open()
                last = state.step + 1 == train.steps
                logging = last or _due(state.step + 1, train.log_every)
                lr = self.stepper.lr(state.step)
                clips = self.plan.at(state.step).clips
                self.meter.count(
                    batch, clips=clips, flops=self.flops.of(batch) if job.ranks.lead else 0.0
                )
                numbers = self.stepper.step(batch, clips, logging=logging)
                wishes = self.vote.close()
                if logging:
                    self.watch.check()
                    line = _mean(numbers, job.ranks) | {"lr": lr} | self.meter.read()
                    line |= stream.spent()
                    job.recorder.write(state.step, line | lag(job.ranks, self.meter.laps))
                    job.recorder.laps(self.meter.laps)
                if self.after(wishes, last=last):
                    return
                self.watchdog.beat("waiting for data", state.step + 1)

    def owed(self) -> bool:
        """Whether a stop came between a step and its validation, which it then left out."""
        step = self.state.step
        due = step > 0 and _due(step, self.train.validate_every)
        return due and not self.job.progress.knows(step)

    def after(self, wishes: set[str], *, last: bool) -> bool:
        """What is due between two steps; whether the run is over."""
        state, train, progress = self.state, self.train, self.job.progress
        stopping, leaving = "stop" in wishes and not last, "leave" in wishes and not last
        if "saved" in wishes:
            self.tell(self.saver.settle())
        saving = last or stopping or leaving or _due(state.step, train.checkpoint_every)
        if not stopping and not leaving:
            if train.validate_every and (last or _due(state.step, train.validate_every)):
                better = self.validate()
                last = last or progress.ended() is not None
                saving = saving or last or (better and bool(self.best))
            if last or _due(state.step, train.sample_every):
                self.sample()
        if leaving:
            self.job.recorder.preempted(state.step)
        if saving or "save" in wishes:
            self.save(wait=last or stopping or leaving)
        if stopping:
            raise Interrupted(
                f"stopped after step {state.step} of {train.steps}, all of it saved",
                fix=f"Go on with: vidgen train --resume {self.job.folder.url}",
            )
        if leaving:
            self.watchdog.close()
            self.job.leave()
        return last

    def validate(self) -> bool:
        """Whether the score that counts is the best so far."""
        job, step = self.job, self.state.step
        self.watchdog.beat("validation", step)
        self.watch.check()
        with self.meter.spend("validate"):
            scores = validate(self.state, job.dataset, job.config, job.ranks)
        job.recorder.write(step, scores)
        job.report({"step": step, **scores})
        return job.progress.see(step, scores)

    def sample(self) -> None:
        job = self.job
        self.watchdog.beat("sampling", self.state.step)
        with self.meter.spend("sample"):
            write_samples(self.state, job.dataset, job.config, job.folder, job.ranks, self.errands)

    def save(self, *, wait: bool) -> None:
        """Begin to save; with `wait`, also end."""
        state, spare = self.state, self.job.progress.ranking()[: self.best]
        self.watchdog.beat("saving", state.step)
        self.watch.check()
        with self.meter.spend("checkpoint"):
            begin = self.saver.save if wait else self.saver.start
            self.tell(begin(state.tree(), state.step, spare=spare))
        if wait:
            self.tell(state.step)

    def tell(self, saved: int | None) -> None:
        """Report a step whose checkpoint is whole."""
        if saved is not None:
            took = {"save_s": self.saver.seconds, "save_bytes": self.saver.size}
            self.job.recorder.note(self.state.step, took)
            self.job.report({"step": saved})


def _due(step: int, every: int) -> bool:
    return bool(every) and step % every == 0


def _mean(numbers: dict[str, Tensor], ranks: Ranks) -> dict[str, float]:
    """Means over ranks; one transfer from the device."""
    stacked = torch.stack([value.float() for value in numbers.values()])
    means = ranks.total(stacked) / ranks.world
    return dict(zip(numbers, means.tolist(), strict=True))
