"""What people preferred: a model fitted to the votes of a `vidgen study`.

The strengths of Bradley and Terry (1952), linear in the features of a video as in the reward models
of arXiv:1706.03741.
Legend: N votes, D features.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vidgen.data.video import open_video
from vidgen.errors import ConfigError, EvaluationError
from vidgen.metrics.features.table import build_extractor
from vidgen.rl.rewards.base import Reward
from vidgen.study.model import QUESTIONS
from vidgen.study.shown import read_videos
from vidgen.study.votes import Ballot, Vote, read_ballot
from vidgen.types import Condition, to_uint8

_PENALTIES = (0.003, 0.03, 0.3, 3.0)
_FOLDS = 5
_RATE = 8  # frames per second of videos that do not say theirs
_GUESSING = 0.55  # share of votes foretold, up to which a model knows nothing

log = logging.getLogger(__name__)


class Preference(Reward):
    """How probable it is that people prefer a video to the average one of their study, in [0, 1].

    Args:
        study: folder that `vidgen study create` wrote.
        answers: raters' files, or the folder they lie in; default: answers/ in the study.
        question: which of the study's questions.
        extractor: a row of the table of feature extractors.
        weights: file of its weights, for one that has any.

    Attributes:
        foretold: share of held-out votes that the model got right, once fitted.

    Raises ConfigError for options that name nothing, EvaluationError for a damaged study.
    """

    def __init__(
        self,
        study: str,
        answers: str | Sequence[str] | None = None,
        question: str = "realism",
        extractor: str = "st-stats",
        weights: str | None = None,
    ) -> None:
        asked = [each.id for each in QUESTIONS]
        if question not in asked:
            raise ConfigError(
                f"reward.options.preference.question: no question '{question}'",
                expected=f"one of: {', '.join(asked)}",
            )
        folder = Path(study)
        self._ballot: Ballot = read_ballot(_files(folder, answers), key=folder / "key.json")
        self._votes = [vote for vote in self._ballot.votes(question) if vote.share != 0.5]
        if len({vote.trial for vote in self._votes}) < _FOLDS:
            raise EvaluationError(
                f"{study}: too few votes on '{question}' to learn from",
                expected=f"votes on {_FOLDS} pairs or more",
            )
        self._videos = read_videos(folder / "page" / "index.html", self._ballot.key)
        self._extractor = build_extractor(extractor, path=Path(weights) if weights else None)
        self._mean = self._std = self._taste = torch.empty(0)
        self.foretold = 0.0

    def fit(self, real: Tensor) -> None:
        """Learn the votes on videos brought to the size of the real ones."""
        names = sorted({name for vote in self._votes for name in vote.videos})
        known = torch.cat([self._features(_clip(self._videos[name], real)) for name in names])
        self._mean = known.mean(0)
        self._std = known.std(0).clamp_min(0.05 * known.std(0).median() + 1e-6)
        placed = dict(zip(names, (known - self._mean) / self._std, strict=True))
        gaps = torch.stack([placed[v.videos[0]] - placed[v.videos[1]] for v in self._votes])
        won = torch.tensor([v.share for v in self._votes], dtype=gaps.dtype, device=gaps.device)
        folds = _folds(self._votes)
        tried = [_held_out(gaps, won, folds, penalty) for penalty in _PENALTIES]
        best = min(range(len(tried)), key=lambda at: tried[at][0])
        self.foretold = tried[best][1]
        self._taste = _fitted(gaps, won, _PENALTIES[best])
        told = f"preference foretells {self.foretold:.0%} of {len(won)} votes held out from it"
        if self.foretold <= _GUESSING:
            log.warning("%s: no better than guessing; ask more people, or more alike", told)
        else:
            log.info(told)

    def __call__(self, video: Tensor, cond: Condition) -> Tensor:
        assert len(self._taste), "fit it first"
        places = (self._features(video) - self._mean) / self._std
        return torch.sigmoid(places @ self._taste).float()

    def _features(self, video: Tensor) -> Tensor:
        """(B, D) float64, of a whole video."""
        found = self._extractor.to(video.device)(to_uint8(video)).clone()  # out of inference mode
        mean: Tensor = found.reshape(len(video), -1, found.shape[-1]).double().mean(1)
        return mean


def _files(study: Path, answers: str | Sequence[str] | None) -> list[Path]:
    given = [answers] if isinstance(answers, str) else answers or [str(study / "answers")]
    found: list[Path] = []
    for path in map(Path, given):
        found += sorted(path.glob("*.json")) if path.is_dir() else [path]
    return found


def _clip(data: bytes, like: Tensor) -> Tensor:
    """A study's video as the model's would be, (1, C, T, H, W) in [-1, 1]."""
    frames, height, width = like.shape[2:]
    with open_video(data, name="a video of the study") as video:
        shown = video.frames(fps=video.info().fps or _RATE, size=(width, height))
        seen = torch.from_numpy(np.stack([*shown]))
    at = torch.linspace(0, len(seen) - 1, frames).round().long()
    return seen[at].permute(3, 0, 1, 2)[None].float().to(like.device) / 127.5 - 1


def _fitted(gaps: Tensor, won: Tensor, penalty: float) -> Tensor:
    """(D,) weights of features by logistic regression of (N, D) differences, none to begin with."""
    taste = torch.zeros(gaps.shape[1], dtype=gaps.dtype, device=gaps.device, requires_grad=True)
    optimizer = torch.optim.LBFGS([taste], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Any:
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(gaps @ taste, won)
        loss = loss + penalty * taste.square().sum() / 2
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    return taste.detach()


def _folds(votes: Sequence[Vote]) -> Tensor:
    """(N,): votes on a pair stay together."""
    pairs = sorted({vote.trial for vote in votes})
    return torch.tensor([pairs.index(vote.trial) % _FOLDS for vote in votes])


def _held_out(gaps: Tensor, won: Tensor, folds: Tensor, penalty: float) -> tuple[float, float]:
    """Log loss, and share of votes foretold, of pairs that the model was not fitted to."""
    guess = torch.zeros_like(won)
    for fold in range(_FOLDS):
        held = (folds == fold).to(won.device)
        guess[held] = gaps[held] @ _fitted(gaps[~held], won[~held], penalty)
    loss = F.binary_cross_entropy_with_logits(guess, won)
    return float(loss), float(((guess > 0) == (won > 0.5)).double().mean())


build = Preference
