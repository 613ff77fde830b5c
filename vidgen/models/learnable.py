"""What a model may be able to do besides, for reward fine-tuning to build on.

Legend: B videos, C channels, T frames, H height, W width, S decisions on the way to a video.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Generator, Tensor

from vidgen.types import Batch, Condition


@dataclass(frozen=True, kw_only=True)
class Noised:
    """Videos, or their latents, on the way to noise.

    Attributes:
        clean, noisy: same shape, B first.
        t: (B,), the share of signal.
        weight: (B,), of a squared error of the clean one in the family's own loss.
    """

    clean: Tensor
    noisy: Tensor
    t: Tensor
    weight: Tensor


@runtime_checkable
class Denoiser(Protocol):
    """A model that sees the clean video in a noisy one."""

    def estimate(
        self, noisy: Tensor, t: Tensor, cond: Condition, keep: dict[str, Tensor] | None = None
    ) -> Tensor:
        """What is clean in `noisy`, same shape."""


@runtime_checkable
class Noising(Protocol):
    """The objective of a denoiser: it draws times and noise from `batch.seed`."""

    def noised(self, batch: Batch) -> Noised:
        """What the family's loss would be computed on."""


@dataclass(frozen=True, kw_only=True)
class Path:
    """How videos came about, decision by decision.

    Attributes:
        video: (B, C, T, H, W) in [-1, 1].
        states: what was decided, the family's own form.
        decisions: S.
        together: whether the probabilities of all decisions cost no more than one's.
    """

    video: Tensor
    states: Tensor
    decisions: int
    together: bool = False

    def __len__(self) -> int:
        return len(self.video)


@runtime_checkable
class Policy(Protocol):
    """A model whose videos come about by random decisions of known probability."""

    def rollout(
        self, cond: Condition, n: int, *, guidance: float, noise: float, generator: Generator
    ) -> Path:
        """Make n videos; deterministic given a generator."""

    def log_probs(
        self, path: Path, cond: Condition, chosen: Tensor, *, guidance: float, noise: float
    ) -> Tensor:
        """(B, K) log-probabilities, each a mean over the numbers decided, of the decisions of the
        indices `chosen`, (K,), under the weights of now."""
