"""What a reward run is worth by its own rewards, on held-out clips, beside what its start gets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from vidgen.config.reward import RewardConfig
from vidgen.config.run import StorageConfig
from vidgen.data.loader import EvalBatch
from vidgen.engine.load import load_here
from vidgen.engine.measures import GENERATED, GROUND_TRUTH, Setting
from vidgen.errors import VidgenError
from vidgen.metrics.interval import mean_interval
from vidgen.metrics.score import Score, Subject
from vidgen.models.base import VideoModel
from vidgen.rl.score import Scorer
from vidgen.storage.run_folder import RunFolder

START = "the start"


class Rewarded:
    """Rewards of the generated videos, of the start's for the same noise, and of the real clips.

    Args:
        real: training clips, (N, C, T, H, W) in [-1, 1]: what real video is like.
        subject: the generated videos.
    """

    def __init__(
        self, reward: RewardConfig, real: Tensor, subject: Subject, storage: StorageConfig | None
    ) -> None:
        self.lost = ""
        self.scorer = Scorer(reward.rewards, reward.options)
        self.scorer.fit(real)
        self.found: dict[tuple[str, str], list[Tensor]] = defaultdict(list)
        self.start: VideoModel | None = None
        try:
            self.start, _ = load_here(RunFolder(reward.start, storage), None, storage)
        except VidgenError as error:  # a run may be looked at where its start is not
            self.lost = f"rewards of the start are left out: {error}"
        assert subject.seed is not None
        assert subject.guidance is not None
        self.guidance = subject.guidance
        self.noise = Generator().manual_seed(subject.seed)

    def update(self, held_out: EvalBatch, generated: Tensor) -> None:
        kinds = {GENERATED: generated, GROUND_TRUTH: held_out.batch.video}
        if self.start is not None:
            kinds[START] = self.start.beside(
                held_out.batch, guidance=self.guidance, generator=self.noise
            ).cpu()
        for kind, videos in kinds.items():
            scores = self.scorer(videos, held_out.batch.cond)
            self.found[kind, "reward"].append(self.scorer.weighted(scores))
            for name, score in scores.items() if len(scores) > 1 else ():
                self.found[kind, f"reward_{name}"].append(score)

    def scores(self, setting: Setting) -> Iterator[Score]:
        told = ", ".join(f"{name} x {weight:g}" for name, weight in self.scorer.weights.items())
        for (kind, name), parts in self.found.items():
            values = torch.cat(parts).tolist()
            yield setting.score(
                name, sum(values) / len(values), n=len(values), kind=kind, extractor=told,
                interval=mean_interval(values),
            )  # fmt: skip

    def values(self) -> dict[str, Tensor]:
        parts = self.found[GENERATED, "reward"]
        return {"reward": torch.cat(parts).double()} if parts else {}

    def notes(self) -> Iterator[str]:
        if self.lost:
            yield self.lost
