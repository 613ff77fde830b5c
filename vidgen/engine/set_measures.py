"""Measures that compare the set of generated videos with the set of real ones."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vidgen.data.loader import EvalBatch
from vidgen.engine.measures import FIRST_FRAME, GENERATED, GROUND_TRUTH, NOISE, Setting
from vidgen.engine.samples import to_frames
from vidgen.metrics.bootstrap import FEW_ROUNDS, SET_ROUNDS, Difference, half_samples
from vidgen.metrics.distances import InceptionScore
from vidgen.metrics.features.base import Extractor
from vidgen.metrics.features.table import score_names
from vidgen.metrics.frechet import RELIABLE_SAMPLES, FrechetDistance
from vidgen.metrics.neighbours import NEIGHBOURS, copies
from vidgen.metrics.score import Score
from vidgen.metrics.set_scores import DistributionScorer, SetScorer, SetScores, temporal_sample
from vidgen.metrics.temporal import MEASURES, measure_all

BASELINES = (FIRST_FRAME, NOISE)
TRAINING = "training clips"  # real videos the model may have learned by heart: a level to reach
MANY = 1024  # clips; with more, fewer rounds tell the interval as well


class Distribution:
    """How far generated videos are from real ones in an extractor's features, and what they copy.

    Args:
        extractor: what looks at the videos.
        frames: T.
        device: where it does.
    """

    def __init__(
        self, extractor: Extractor, *, frames: int, device: torch.device | str = "cpu"
    ) -> None:
        self.extractor, self.device = extractor.to(device), device
        self.per_video = frames if extractor.per == "frame" else 1
        self.scorer = DistributionScorer(extractor.name)
        self.kinds = {
            kind: SetScores(self.scorer, extractor.dim, per_video=self.per_video)
            for kind in (GENERATED, *BASELINES)
        }
        self.frechet = FrechetDistance(extractor.dim)
        self.classes = InceptionScore(extractor.classes) if extractor.classes else None
        self.training = torch.zeros(0, self.per_video, extractor.dim)

    def add_training(self, video: Tensor) -> None:
        """Add (B, C, T, H, W) training clips in [-1, 1].

        Copies are looked for among them, and as many of them as there are held-out clips are
        scored beside the generated ones.
        """
        features = self._look(video).reshape(len(video), *self.training.shape[1:])
        self.training = torch.cat([self.training, features])

    def update(self, held_out: EvalBatch, generated: Tensor) -> None:
        truth, index = held_out.batch.video, torch.tensor(held_out.index)
        real, made = self._look(truth), self._look(generated)
        for kind, sample in self.kinds.items():
            shown = made if kind == GENERATED else self._look(baseline(kind, truth, index))
            sample.add(real, index, real=True)
            sample.add(shown, index, real=False)
        self.frechet.update(real, real=True)
        self.frechet.update(made, real=False)
        if self.classes is not None:
            self.classes.update(
                self.extractor.probabilities(_uint8(generated).to(self.device)).cpu()
            )

    def scores(self, setting: Setting) -> Iterator[Score]:
        real, made = self.kinds[GENERATED].sides()
        if len(real) < 2:
            return
        sides = {kind: sample.sides()[1] for kind, sample in self.kinds.items()}
        if len(self.training) >= len(real):
            sides[TRAINING] = self.training[: len(real)]
        about = self.scorer.about
        for kind, shown in sides.items():
            for name, value, interval in _with_intervals(self.scorer, real, shown, kind):
                if kind == GENERATED and name == score_names(self.extractor.name).frechet:
                    value = float(self.frechet.compute())  # of all clips, not of a sample
                yield setting.score(
                    name,
                    value,
                    n=setting.protocol.n,
                    kind=kind,
                    extractor=self._described(name),
                    better=about[name].better,
                    unit=about[name].unit,
                    interval=interval,
                )
        if self.classes is not None:
            yield setting.score(
                score_names(self.extractor.name).classes,
                float(self.classes.compute()),
                n=setting.protocol.n,
                extractor=self._described(""),
            )
        yield from self._copies(setting, real, made)

    def values(self) -> dict[str, Tensor]:
        """Features, for paired comparison: (N, F, D) of real and generated videos."""
        real, made = self.kinds[GENERATED].sides()
        name = self.extractor.name
        return {f"real/{name}": real, f"made/{name}": made}

    def notes(self) -> Iterator[str]:
        videos = len(self.kinds[GENERATED].sides()[0])
        if videos < 2:
            yield f"scores of sets ({self.extractor.name}) need at least 2 clips: left out"
        elif videos < RELIABLE_SAMPLES and self.per_video == 1:
            name = score_names(self.extractor.name).frechet
            yield (
                f"{name} of {videos} clips is biased upwards, the more the fewer clips: compare it "
                f"at equal N, or use {name}_unbiased (meant for N below {RELIABLE_SAMPLES})"
            )

    def _copies(self, setting: Setting, real: Tensor, made: Tensor) -> Iterator[Score]:
        if not len(self.training):
            return
        found = copies(made.flatten(1), self.training.flatten(1), real.flatten(1))
        for kind, share in ((GENERATED, found.share), (GROUND_TRUTH, found.expected)):
            yield setting.score(
                f"copied_{self.extractor.name}",
                share,
                n=setting.protocol.n,
                kind=kind,
                extractor=f"{self._described('')}, nearest of {len(self.training)} training clips",
                better="lower",
                unit="ratio",
            )

    def _described(self, name: str) -> str:
        """The extractor for the protocol."""
        share = name.partition("_")[0] in ("precision", "recall", "density", "coverage")
        return self.extractor.described + (f", k={NEIGHBOURS}" if share else "")

    def _look(self, video: Tensor) -> Tensor:
        features: Tensor = self.extractor(_uint8(video).to(self.device))
        return features.cpu()


class Temporal:
    """Whether the picture moves as real video does; see metrics/temporal.py."""

    def __init__(self) -> None:
        self.kinds = {kind: temporal_sample() for kind in (GENERATED, *BASELINES)}

    def update(self, held_out: EvalBatch, generated: Tensor) -> None:
        truth, index = held_out.batch.video, torch.tensor(held_out.index)
        real, made = measure_all(_uint8(truth)), measure_all(_uint8(generated))
        for kind, sample in self.kinds.items():
            sample.update(real, index, real=True)
            if kind == GENERATED:
                shown = made
            elif kind == FIRST_FRAME:
                shown = torch.zeros_like(made)  # what a clip that stands still measures
            else:
                shown = measure_all(_uint8(baseline(kind, truth, index)))
            sample.update(shown, index, real=False)

    def scores(self, setting: Setting) -> Iterator[Score]:
        real, scorer = self.kinds[GENERATED].sides()[0], self.kinds[GENERATED].scorer
        sides = {kind: sample.sides()[1] for kind, sample in self.kinds.items()}
        n, extractor = setting.protocol.n, "DIS optical flow"
        for kind, shown in sides.items():
            for name, value, interval in _with_intervals(scorer, real, shown, kind):
                yield setting.score(
                    name,
                    value,
                    n=n,
                    kind=kind,
                    extractor=extractor,
                    interval=interval,
                    unit="ratio",
                )
        # What it is made of. None is good by itself: a still video has 0 everywhere.
        for kind, shown in {**sides, GROUND_TRUTH: real}.items():
            for column, name in enumerate(MEASURES):
                value = float(shown[..., column].mean())
                yield setting.score(
                    name, value, n=n, kind=kind, extractor=extractor, better="like real"
                )

    def values(self) -> dict[str, Tensor]:
        """Measurements, for paired comparison."""
        real, made = self.kinds[GENERATED].sides()
        return {"real/temporal": real, "made/temporal": made}

    def notes(self) -> Iterator[str]:
        yield from ()


def baseline(kind: str, truth: Tensor, index: Tensor) -> Tensor:
    """Videos that need no model, like the real (B, C, T, H, W) ones with these indices."""
    if kind == FIRST_FRAME:
        return truth[:, :, :1].expand_as(truth)
    assert kind == NOISE
    # Of each clip's own, so that batches and ranks do not matter.
    draws = [torch.Generator().manual_seed(int(at)) for at in index]
    return torch.stack([torch.rand(truth.shape[1:], generator=g) * 2 - 1 for g in draws])


def rounds_for(features: Tensor) -> int:
    """How often to resample (N, F, D) features: less where a round takes long."""
    n, f, d = features.shape
    return FEW_ROUNDS if min(n * f, d) > 256 or n > MANY else SET_ROUNDS


def _with_intervals(
    scorer: SetScorer, real: Tensor, shown: Tensor, kind: str
) -> Iterator[tuple[str, float, tuple[float, float] | None]]:
    found: dict[str, Difference] = {}
    # A baseline of many clips is far off or it is not; minutes of resampling would not say more.
    if len(real) >= 4 and (kind == GENERATED or len(real) <= MANY):
        found = half_samples(
            lambda rows: scorer(real[rows], shown[rows], quick=True),
            len(real),
            rounds=rounds_for(real),
        )
    about = scorer.about
    for name, value in scorer(real, shown).items():
        at = found.get(name)
        least, most = about[name].least, about[name].most
        yield name, value, (max(at.low, least), min(at.high, most)) if at else None


def _uint8(video: Tensor) -> Tensor:
    """(B, 3, T, H, W) in [-1, 1] to uint8."""
    return to_frames(video).permute(0, 4, 1, 2, 3)
