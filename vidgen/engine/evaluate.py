"""`vidgen evaluate`: score a run on clips it was not trained on, and say how it was measured."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Generator, Tensor

from vidgen.config.run import EvaluateConfig, StorageConfig
from vidgen.data.encode import encode_mp4
from vidgen.data.ensure import ensure_dataset
from vidgen.data.loader import EvalBatch, eval_batches
from vidgen.engine.evaluation import Evaluation, ScoredClip
from vidgen.engine.held_out import HeldOut
from vidgen.engine.load import load_here
from vidgen.engine.measures import (
    CaptionAgreement,
    Continuation,
    Measure,
    Own,
    Prediction,
    Reconstruction,
    Setting,
)
from vidgen.engine.objective import real_clips
from vidgen.engine.reward_measure import Rewarded
from vidgen.engine.samples import enlarge, to_frames
from vidgen.engine.set_measures import Distribution, Temporal
from vidgen.engine.values import write_values
from vidgen.errors import ConfigError, EvaluationError
from vidgen.metrics.features.base import Extractor
from vidgen.metrics.features.table import build_extractor
from vidgen.metrics.interval import mean_interval
from vidgen.metrics.judge import asked_for
from vidgen.metrics.score import Score, Subject
from vidgen.models.base import VideoModel, build_objective
from vidgen.models.codec import Codec
from vidgen.observe.bar import Tell, nobody
from vidgen.storage.run_folder import RunFolder, step_name

SHOWN = 12  # clips kept for people to look at
FEW = 30  # below this, intervals are too wide for most conclusions


@torch.no_grad()
def evaluate(
    run: str,
    *,
    clips: int | None = None,
    step: int | None = None,
    storage: StorageConfig | None = None,
    seed: int = 0,
    guidance: float | None = None,
    data: str | None = None,
    extractors: Sequence[str] = (),
    weights: Mapping[str, str] | None = None,
    download: bool = False,
    tell: Tell = nobody,
) -> Evaluation:
    """Score a run's averaged weights; write eval.json and some of the clips into its folder.

    Args:
        run: run folder, local or s3://.
        clips: held-out clips, at most; default: the run's evaluate.clips.
        step: checkpoint; default: the newest weights.
        storage: how to reach an object store.
        seed: of the generated videos.
        guidance: classifier-free guidance scale; default: the run's.
        data: another prepared data set to take the held-out clips from.
        extractors: what looks at videos for scores of sets; default: the run's evaluate.extractors.
        weights: weights file by extractor, beside the run's evaluate.weights.
        download: fetch published weights that are not here yet.
        tell: called as the work goes on.

    Raises:
        EvaluationError: the model makes something that is no video, or an extractor's weights are
            missing or not the published ones.
    """
    folder = RunFolder(run, storage)
    config = folder.config()
    # No clip is read more than twice: keeping them would only make memory grow with their number.
    clips_from = config.data.model_copy(update={"cache": False})
    if data is not None:
        clips_from = clips_from.model_copy(update={"url": data, "synthetic": None})
    config = config.model_copy(update={"data": clips_from})
    lookers = build_extractors(config.evaluate, extractors, weights or {}, download=download)
    model, trained = load_here(folder, step, storage)
    everything = HeldOut(
        dataset=ensure_dataset(config, tell=tell),
        config=config,
        limit=clips or config.evaluate.clips,
    )
    subject = Subject(
        run=folder.url,
        step=trained,
        weights="ema" if config.train.ema_decay else "raw",
        guidance=config.sampling.guidance if guidance is None else guidance,
        seed=seed,
    )
    scores = [validation_loss(everything, model, subject, tell)]

    chosen = everything
    if "text" in model.conditions:
        judged = None not in map(asked_for, everything.captions())
        chosen = everything.with_unseen_captions(one_each=judged)
    setting = Setting(protocol=chosen.protocol(model.conditions), subject=subject)
    agreement = CaptionAgreement()
    measures: list[Measure] = []
    if isinstance(model, Codec):
        measures.append(Reconstruction())
    elif "past" in model.conditions:
        measures.append(Prediction())
    elif "image" in model.conditions:
        measures.append(Continuation())
    if "text" in model.conditions:
        measures.append(agreement)
    measures += [Own(config.evaluate.metrics), Temporal()]
    if config.reward is not None:
        real = real_clips(everything.dataset, config, config.reward.real_clips)
        measures.append(Rewarded(config.reward, real, subject, storage))
    frames = config.data.frames
    distributions = [Distribution(each, frames=frames, device=model.device) for each in lookers]
    _look_at_training(distributions, everything, tell)
    measures += distributions
    shown: list[ScoredClip] = []
    prefix, fps = f"eval/{step_name(trained)}", setting.protocol.fps
    generator, done = Generator().manual_seed(seed), 0
    for held_out in chosen.batches(model.conditions):
        videos = _sample(model, held_out, subject, generator)
        for measure in measures:
            measure.update(held_out, videos)
        shown += _keep(folder, prefix, held_out, videos, first=len(shown), fps=fps)
        done += len(videos)
        tell("generated", done, len(chosen))

    scores += [score for measure in measures for score in measure.scores(setting)]
    notes = [note for note in (chosen.note, _few(len(chosen))) if note]
    notes += [note for measure in measures for note in measure.notes()]
    evaluation = Evaluation(
        step=trained,
        time=time.time(),
        parameters=sum(weight.numel() for weight in model.parameters()),
        scores=scores,
        clips=[agreement.annotate(clip, row) for row, clip in enumerate(shown)],
        notes=notes,
    )
    values = {k: v for measure in measures for k, v in measure.values().items()}
    write_values(folder, trained, values)
    evaluation.write(folder)
    return evaluation


def cases(steps: Sequence[int], seeds: Sequence[int]) -> list[tuple[int | None, int]]:
    """Every step with every seed; the newest step with the first seed comes last."""
    in_turn: list[int | None] = [*sorted(set(steps))] or [None]
    return [(s, seed) for s in in_turn for seed in reversed(list(dict.fromkeys(seeds)) or [0])]


def build_extractors(
    settings: EvaluateConfig, names: Sequence[str], weights: Mapping[str, str], *, download: bool
) -> list[Extractor]:
    """The extractors asked for. Raises ConfigError, and EvaluationError for weights."""
    paths = {**settings.weights, **weights}
    wanted = list(dict.fromkeys(names or settings.extractors))
    unused = sorted(set(paths) - set(wanted))
    if unused and weights:
        raise ConfigError(
            f"weights are given for '{unused[0]}', which is not among the extractors",
            expected=f"one of: {', '.join(wanted)}",
            fix=f"Add --extractor {unused[0]}.",
        )
    return [
        build_extractor(name, path=Path(paths[name]) if name in paths else None, download=download)
        for name in wanted
    ]


def _look_at_training(distributions: list[Distribution], clips: HeldOut, tell: Tell) -> None:
    """Show the training clips to all extractors, batch by batch."""
    config, done = clips.config, 0
    limit = config.evaluate.training_clips
    if not distributions or not limit:
        return
    for batch in eval_batches(
        clips.dataset, config, split="train", limit=limit,
        batch_size=config.sampling.batch_size, conditions=(),
    ):  # fmt: skip
        for distribution in distributions:
            distribution.add_training(batch.batch.video)
        done += len(batch.rows)
        tell("training clips", done, limit)


def validation_loss(clips: HeldOut, model: VideoModel, subject: Subject, tell: Tell) -> Score:
    """The objective's validation loss on held-out clips, with the model's own weights."""
    objective = build_objective(clips.config)
    objective.model = model
    objective.eval()
    values: list[float] = []
    for held_out in clips.batches(model.conditions):
        values += objective.validation_loss(held_out.batch.to(model.device)).total.tolist()
        tell("validation loss", len(values), len(clips))
    protocol = clips.protocol(model.conditions)
    return Setting(protocol=protocol, subject=subject).score(
        "validation_loss",
        sum(values) / len(values),
        n=len(values),
        extractor=f"{clips.config.model.family} objective",
        better="lower",
        interval=mean_interval(values),
    )


def _sample(
    model: VideoModel, held_out: EvalBatch, subject: Subject, generator: Generator
) -> Tensor:
    """Videos for a batch's conditions, (B, C, T, H, W) on the CPU. Raises EvaluationError."""
    assert subject.guidance is not None
    batch = held_out.batch.to(model.device)
    videos = model.beside(batch, guidance=subject.guidance, generator=generator).cpu()
    if not videos.isfinite().all():
        raise EvaluationError(
            f"the model of {subject.run} at step {subject.step} generates NaN or infinite pixels",
            fix="It diverged in training: evaluate an earlier checkpoint with --step.",
        )
    return videos


def _keep(
    folder: RunFolder, prefix: str, held_out: EvalBatch, videos: Tensor, *, first: int, fps: float
) -> list[ScoredClip]:
    """Write real and generated videos side by side into the run folder, until SHOWN are there."""
    kept = []
    count = min(len(videos), SHOWN - first)
    pairs = zip(to_frames(held_out.batch.video[:count]), to_frames(videos[:count]), strict=True)
    for number, (row, pair) in enumerate(zip(held_out.rows, pairs, strict=False), start=first):
        names = [f"{prefix}/{number:03d}_{kind}.mp4" for kind in ("real", "generated")]
        for name, frames in zip(names, pair, strict=True):
            folder.store.write(name, encode_mp4(enlarge(frames).numpy(), fps))
        kept.append(
            ScoredClip(
                real=names[0],
                generated=names[1],
                source=row.source,
                caption=row.caption,
                label=row.label,
            )
        )
    return kept


def _few(n: int) -> str:
    return f"only {n} clips were scored: mind the width of the intervals" if n < FEW else ""
