"""The training loop. One loop for every model family, on any number of ranks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vidgen.config.run import EarlyStopConfig, RunConfig
from vidgen.data.dataset import Dataset
from vidgen.data.loader import batches
from vidgen.engine.checkpoint import save_checkpoint
from vidgen.engine.distributed import Ranks, Vote
from vidgen.engine.early_stop import Progress
from vidgen.engine.meter import Meter, Watch
from vidgen.engine.optim import set_lr
from vidgen.engine.samples import write_samples
from vidgen.engine.schedule import lr_ratio
from vidgen.engine.state import State
from vidgen.engine.turns import Turn
from vidgen.engine.validate import validate
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
    progress: Progress = field(default_factory=lambda: Progress(EarlyStopConfig()))


def run_loop(job: Job) -> None:
    """Train from `state.step` to `train.steps`, or until `progress` ends the run early.

    A checkpoint of the last step is left in either case.

    Raises:
        Interrupted: asked to stop; a checkpoint of the last step done is saved.
        TrainingError: the loss is no longer finite.
        StorageError: a checkpoint could not be written.
    """
    config, state, ranks, progress = job.config, job.state, job.ranks, job.progress
    if progress.ended():
        return
    train, precision = config.train, state.precision
    turns = [Turn(state.objective, n, o, ranks, state.sharded) for n, o in state.optimizers.items()]
    meter, watch, vote = Meter(), Watch(ranks), Vote(ranks, job.stop_wanted)
    stream = batches(
        job.dataset,
        config,
        split="train",
        rank=ranks.rank,
        world=ranks.world,
        start_step=state.step,
        conditions=sorted(state.objective.model.conditions),
    )
    best = max(train.keep_best, int(config.early_stop.patience > 0))
    state.objective.train()
    with closing(stream):
        for step, batch in zip(range(state.step, train.steps), meter.steps(stream), strict=False):
            vote.open()
            _reseed(config.seed, step, ranks.rank)
            state.step = step + 1
            last = state.step == train.steps
            logging = last or _due(state.step, train.log_every)
            lr = config.optimizer.lr * lr_ratio(config.schedule, step, train.steps)
            numbers: dict[str, Tensor] = {}
            batch = batch.to(ranks.device, non_blocking=True)

            for turn in turns:
                set_lr(turn.optimizer, lr)
                turn.optimizer.zero_grad()
                with turn.training_only():
                    for part, share in turn.parts(batch, train.accumulate):
                        with precision.autocast():
                            losses = turn.losses(part, step)
                        precision.backward(losses.total * share)
                        watch.see(losses.total, state.step)
                        if logging:
                            _add(numbers, f"{turn.prefix}loss", losses.total, share)
                            for name, value in losses.parts.items():
                                _add(numbers, f"{turn.prefix}loss_{name}", value, share)
                    norm = precision.step(turn.optimizer, turn.weights, config.optimizer.clip_norm)
                if precision.kind != "fp16":  # whose scaler skips such steps by itself
                    watch.see(norm, state.step)
                if logging:
                    numbers[f"{turn.prefix}grad_norm"] = norm
            state.ema.update(step)

            stopping = vote.close() and not last
            validating = train.validate_every and (last or _due(state.step, train.validate_every))
            validating = validating and not stopping
            saving = last or stopping or _due(state.step, train.checkpoint_every)
            if logging or validating or saving:
                watch.check()
            if logging:
                line = _mean(numbers, ranks) | {"lr": lr} | meter.read(train.batch_size)
                job.recorder.write(state.step, line)
            if validating:
                with meter.spend("validate"):
                    scores = validate(state, job.dataset, config, ranks)
                job.recorder.write(state.step, scores)
                job.report({"step": state.step, **scores})
                better = progress.see(state.step, scores)
                last = last or progress.ended() is not None
                saving = saving or last or (better and bool(best))
            if (last or _due(state.step, train.sample_every)) and not stopping:
                with meter.spend("sample"):
                    write_samples(state, job.dataset, config, job.folder, ranks)
            if saving:
                with meter.spend("checkpoint"):
                    save_checkpoint(
                        job.folder,
                        state.tree(),
                        state.step,
                        ranks,
                        keep=train.keep_checkpoints,
                        spare=progress.ranking()[:best],
                    )
                    job.recorder.flush()
                job.report({"step": state.step})
            if stopping:
                raise Interrupted(
                    f"stopped after step {state.step} of {train.steps}, all of it saved",
                    fix=f"Go on with: vidgen train --resume {job.folder.url}",
                )
            if last:
                return


def _due(step: int, every: int) -> bool:
    return bool(every) and step % every == 0


def _reseed(seed: int, step: int, rank: int) -> None:
    """Make dropout and the like a function of (seed, step, rank): no generator needs saving."""
    torch.manual_seed(hash((seed, step, rank)) & (2**63 - 1))


def _add(numbers: dict[str, Tensor], name: str, value: Tensor, share: float) -> None:
    value = value.detach() * share
    numbers[name] = numbers[name] + value if name in numbers else value


def _mean(numbers: dict[str, Tensor], ranks: Ranks) -> dict[str, float]:
    """Means over ranks, which have equal shares of the batch; one transfer from the device."""
    stacked = torch.stack([value.float() for value in numbers.values()])
    means = ranks.total(stacked) / ranks.world
    return dict(zip(numbers, means.tolist(), strict=True))
