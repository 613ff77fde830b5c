"""Measures: each looks at held-out clips and the videos generated for them, and ends in scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Protocol as Interface

import torch
from torch import Tensor

from vidgen.data.loader import EvalBatch
from vidgen.data.shapes import ATTRIBUTES
from vidgen.engine.evaluation import ScoredClip
from vidgen.errors import ConfigError
from vidgen.metrics.agreement import Agreement, Attributes
from vidgen.metrics.frames import VideoMetric, VideoPSNR, VideoSSIM
from vidgen.metrics.interval import mean_interval
from vidgen.metrics.judge import JUDGE, asked_for, judge
from vidgen.metrics.perceptual import VideoPerceptual
from vidgen.metrics.score import Protocol, Score, Subject

GENERATED = "generated"
GROUND_TRUTH = "ground truth"
FIRST_FRAME = "first frame repeated"
LAST_FRAME = "last frame repeated"
NOISE = "noise"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all scores of an evaluation have in common.

    Attributes:
        protocol: all of it but `n` and `extractor`.
        subject: the generated videos.
    """

    protocol: Protocol
    subject: Subject

    def score(
        self,
        name: str,
        value: float,
        *,
        n: int,
        kind: str = GENERATED,
        extractor: str = "",
        better: str = "higher",
        unit: str = "",
        interval: tuple[float, float] | None = None,
    ) -> Score:
        """A Score under this setting; videos of another kind have no run, step or seed."""
        return Score(
            name=name,
            value=value,
            better=better,
            unit=unit,
            interval=interval,
            subject=self.subject if kind == self.subject.kind else Subject(kind=kind),
            protocol=dataclasses.replace(self.protocol, n=n, extractor=extractor),
        )


class Measure(Interface):
    """Something to score; sees every batch once."""

    def update(self, held_out: EvalBatch, generated: Tensor) -> None:
        """Take in real clips and the videos generated for them, (B, C, T, H, W) in [-1, 1]."""

    def scores(self, setting: Setting) -> Iterator[Score]:
        """What came out."""

    def values(self) -> dict[str, Tensor]:
        """What a paired comparison of the generated videos needs; see engine/values.py."""

    def notes(self) -> Iterator[str]:
        """Remarks for people."""


def first_frame_repeated(held_out: EvalBatch) -> Tensor:
    """(B, C, T, H, W) that stand still: what a continuation has to be better than."""
    return held_out.batch.video[:, :, :1].expand_as(held_out.batch.video)


def last_past_repeated(held_out: EvalBatch) -> Tensor:
    """(B, C, T, H, W) that stand still: what a prediction has to be better than."""
    assert held_out.batch.cond.past is not None
    return last_frame_repeated(held_out.batch.cond.past, held_out.batch.video.shape[2])


def last_frame_repeated(past: Tensor, frames: int) -> Tensor:
    """(B, C, P, H, W) to (B, C, frames, H, W): what a prediction has to be better than."""
    return past[:, :, -1:].expand(-1, -1, frames, -1, -1)


class VideoMSE(VideoMetric):
    """Mean squared error of a video's pixels, which go from 0 to 1."""

    name = "mse"
    higher_is_better = False

    def per_video(self, video: Tensor, truth: Tensor) -> Tensor:
        return ((video - truth) / 2).square().flatten(1).mean(1)


class Likeness:
    """Videos against the real clips they should equal, pixel by pixel, beside a baseline.

    Args:
        metrics: what tells the difference.
        baselines: kinds of videos that need no model, and what makes them, (B, C, T, H, W).
        first: first frame that counts.
    """

    def __init__(
        self,
        metrics: Sequence[type[VideoMetric]],
        baselines: Mapping[str, Callable[[EvalBatch], Tensor]] = MappingProxyType({}),
        first: int = 0,
    ) -> None:
        self.metrics = [(kind, each()) for each in metrics for kind in (GENERATED, *baselines)]
        self.baselines = baselines
        self.first = first

    def update(self, held_out: EvalBatch, generated: Tensor) -> None:
        shown = {kind: make(held_out) for kind, make in self.baselines.items()}
        shown[GENERATED] = generated
        truth = held_out.batch.video[:, :, self.first :]
        for kind, metric in self.metrics:
            metric.update(shown[kind][:, :, self.first :], truth)

    def scores(self, setting: Setting) -> Iterator[Score]:
        for kind, metric in self.metrics:
            yield setting.score(
                metric.name,
                metric.compute().item(),
                n=len(metric.all_values()),
                kind=kind,
                extractor=metric.extractor,
                better="higher" if metric.higher_is_better else "lower",
                unit=metric.unit,
                interval=mean_interval(metric.all_values().tolist()),
            )

    def values(self) -> dict[str, Tensor]:
        return {m.name: m.all_values() for kind, m in self.metrics if kind == GENERATED}

    def notes(self) -> Iterator[str]:
        yield from ()


class Continuation(Likeness):
    """For a model that is given the first frame, which does not count; the baseline lets it stand
    still."""

    def __init__(self) -> None:
        still = {FIRST_FRAME: first_frame_repeated}
        super().__init__((VideoPSNR, VideoSSIM, VideoPerceptual), still, first=1)


class Reconstruction(Likeness):
    """For a codec, whose videos are the real ones, packed and unpacked."""

    def __init__(self) -> None:
        super().__init__((VideoMSE, VideoPSNR, VideoSSIM))


class Prediction(Likeness):
    """For a model that is given past frames; the baseline repeats the last of them."""

    def __init__(self) -> None:
        super().__init__((VideoMSE, VideoPSNR, VideoSSIM), {LAST_FRAME: last_past_repeated})

    def scores(self, setting: Setting) -> Iterator[Score]:
        yield from super().scores(setting)
        made, still = (m.all_values() for _, m in self.metrics if m.name == "mse")
        share = made.mean() / still.mean()
        if still.mean() > 0:
            # The spread of a ratio of means, from how far each clip lies from it (delta method).
            spread = (made - share * still).std() / still.mean() / len(made) ** 0.5
            half = 1.959964 * float(spread)
            yield setting.score(
                "mse_of_baseline",
                float(share),
                n=len(made),
                extractor=f"over {LAST_FRAME}",
                better="lower",
                unit="ratio",
                interval=(max(0.0, float(share) - half), float(share) + half)
                if len(made) > 1
                else None,
            )


class Own(Likeness):
    """Metrics of the user's, `module:Class` each."""

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__([_own_metric(path) for path in paths])


def _own_metric(path: str) -> type[VideoMetric]:
    """Raises ConfigError for what is no class of metrics."""
    module, _, name = path.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"evaluate.metrics: {path} cannot be imported: {error}",
            expected="module:Class of a module on the Python path",
        ) from None
    if not (isinstance(found, type) and issubclass(found, VideoMetric)):
        raise ConfigError(
            f"evaluate.metrics: {path} is no metric",
            expected="a class derived from vidgen.metrics.frames.VideoMetric",
        )
    return found


class CaptionAgreement:
    """How often a judge sees what the caption says; on the real clips too, as the ceiling.

    Scores nothing when captions speak of things the judge does not know.
    """

    def __init__(self) -> None:
        self.asked: list[Attributes] = []
        self.seen: dict[str, list[Attributes]] = {GENERATED: [], GROUND_TRUTH: []}
        self.readable = True

    def update(self, held_out: EvalBatch, generated: Tensor) -> None:
        asked = [asked_for(caption) for caption in held_out.captions]
        self.readable &= None not in asked
        if self.readable:
            self.asked += [each for each in asked if each is not None]
            self.seen[GENERATED] += judge(generated)
            self.seen[GROUND_TRUTH] += judge(held_out.batch.video)

    def scores(self, setting: Setting) -> Iterator[Score]:
        for kind, seen in self.seen.items() if self.readable else ():
            metric = Agreement(ATTRIBUTES)
            metric.update(self.asked, seen)
            for name, (share, interval) in metric.shares().items():
                yield setting.score(
                    f"{name}_right", share, n=len(seen), kind=kind, extractor=JUDGE,
                    unit="ratio", interval=interval,
                )  # fmt: skip

    def values(self) -> dict[str, Tensor]:
        if not self.readable:
            return {}
        both = list(zip(self.asked, self.seen[GENERATED], strict=True))
        right = {name: [a[name] == s[name] for a, s in both] for name in ATTRIBUTES}
        right["all"] = [all(marks) for marks in zip(*right.values(), strict=True)]
        return {f"{name}_right": torch.tensor(marks).double() for name, marks in right.items()}

    def notes(self) -> Iterator[str]:
        yield from ()

    def annotate(self, clip: ScoredClip, row: int) -> ScoredClip:
        """The row-th clip with what was asked for and what the judge saw in the generated video."""
        if not self.readable or row >= len(self.asked):
            return clip
        asked, seen = self.asked[row], self.seen[GENERATED][row]
        return dataclasses.replace(clip, asked=asked, seen=seen)
