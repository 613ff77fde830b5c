"""Objectives of models whose videos are compared with real ones: predictors and autoencoders."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from vidgen.config.losses import LossConfig
from vidgen.errors import ModelError
from vidgen.models.base import Objective
from vidgen.nn.critic import PatchCritic
from vidgen.nn.losses import critic_loss, fooling_loss, gradient_penalty, pixel_error
from vidgen.nn.perceptual import FrameLook, Frozen, build_features
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
        self.look = _look(loss.features) if loss.perceptual else None
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
        if self.look is not None:
            terms["perceptual"] = settings.perceptual * self.look(shown.made, shown.real)
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


class ClipLook(nn.Module):
    """How different two videos look to vidgen-clip, which sees how they move too."""

    def __init__(self) -> None:
        super().__init__()
        # Here: who does not ask for it needs no metrics.
        from vidgen.metrics.features.table import build_extractor

        self.clip = Frozen(build_extractor("vidgen-clip"))

    def forward(self, video: Tensor, truth: Tensor) -> Tensor:
        """(B, 3, T, H, W) in [-1, 1], twice, to (B,). Raises ModelError if T is too small."""
        from vidgen.metrics.features.vidgen_clip import VidgenClip
        from vidgen.metrics.perceptual import perceptual_distance

        clip = self.clip.network
        assert isinstance(clip, VidgenClip)
        if video.shape[2] < clip.input.least_frames:
            raise ModelError(
                f"loss.features vidgen-clip cannot look at {video.shape[2]} frames",
                expected=f"{clip.input.least_frames} or more",
                fix="Give data.frames more, or set loss.features to filters.",
            )
        with torch.autocast(video.device.type, enabled=False):
            return perceptual_distance(clip, *((x.float() + 1) / 2 for x in (video, truth)))


def _look(features: str) -> nn.Module:
    """What gives the difference in looks of two videos, (B,), as `loss.features` asks."""
    return ClipLook() if features == "vidgen-clip" else FrameLook(build_features(features))
