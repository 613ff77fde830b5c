"""Objectives of models whose videos are compared with real ones: predictors and autoencoders."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from vidgen.config.losses import LossConfig
from vidgen.models.base import Objective
from vidgen.nn.critic import PatchCritic
from vidgen.nn.losses import critic_loss, fooling_loss, gradient_penalty, pixel_error
from vidgen.nn.perceptual import build_features, perceptual_error
from vidgen.types import Batch, Losses


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A model's videos beside the real ones.

    Attributes:
        made, real: (B, C, T, H, W).
        extra: further terms of the loss, by name, (B,), weighted.
    """

    made: Tensor
    real: Tensor
    extra: dict[str, Tensor] = field(default_factory=dict)


class ComparingObjective(Objective):
    """A pixel loss, and as the config asks perceptual features and a critic of patches.

    A family says how its videos come about: `show`.
    """

    def __init__(self, loss: LossConfig, channels: int) -> None:
        super().__init__()
        self.settings = loss
        self.features = build_features(loss.features) if loss.perceptual else None
        self.critic = PatchCritic(channels, loss.critic_width) if loss.adversarial else None

    @abstractmethod
    def show(self, batch: Batch, step: int) -> Shown:
        """The model's videos for a batch; under `eval`, those that count for validation."""

    def turns(self) -> dict[str, nn.Module]:
        own: dict[str, nn.Module] = {"model": self.model}
        return own if self.critic is None else {"critic": self.critic, **own}

    def loss(self, turn: str, batch: Batch, step: int) -> Losses:
        if turn == "critic":
            return self._critic(batch, step)
        shown = self.show(batch, step)
        terms = self._terms(shown)
        total = sum(terms.values(), torch.zeros((), device=shown.real.device))
        if self.critic is not None:
            fooling = fooling_loss(
                self.settings.adversarial_kind, self.critic(shown.real), self.critic(shown.made)
            )
            terms["fooling"] = fooling
            if step >= self.settings.adversarial_from:
                total = total + self.settings.adversarial * fooling
        return Losses(
            total=total.mean(), parts={name: term.mean().detach() for name, term in terms.items()}
        )

    def validation_loss(self, batch: Batch) -> Losses:
        """Without the critic, which changes as it learns."""
        terms = self._terms(self.show(batch, 0))
        total = sum(terms.values(), torch.zeros(len(batch), device=batch.video.device))
        return Losses(total=total, parts=terms)

    def _terms(self, shown: Shown) -> dict[str, Tensor]:
        """The terms of the loss, weighted, (B,) each."""
        settings = self.settings
        pixel = pixel_error(settings.pixel, shown.made, shown.real, settings.huber_delta)
        terms = {settings.pixel: pixel, **shown.extra}
        if self.features is not None:
            error = perceptual_error(self.features, shown.made, shown.real)
            terms["perceptual"] = settings.perceptual * error
        return terms

    def _critic(self, batch: Batch, step: int) -> Losses:
        assert self.critic is not None
        with torch.no_grad():
            shown = self.show(batch, step)
        marks = critic_loss(
            self.settings.adversarial_kind, self.critic(shown.real), self.critic(shown.made)
        )
        slope = gradient_penalty(self.critic, shown.real) + gradient_penalty(
            self.critic, shown.made
        )
        total = marks + self.settings.penalty / 2 * slope
        parts = {"marks": marks.mean().detach(), "slope": slope.mean().detach()}
        return Losses(total=total.mean(), parts=parts)
