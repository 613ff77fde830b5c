"""Colours as a model sees them: (pixels - mean) / scale by channel, and what it makes turned back.

Outside of the objective and its model pixels stay what they are, in [-1, 1]: loaders, conditions,
samples, metrics and files know nothing of it.

Legend: B batch, C channels, T frames, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vidgen.errors import ModelError
from vidgen.models.base import Objective, VideoModel
from vidgen.models.codec import Codec
from vidgen.types import Batch, Condition, Losses


@dataclass(frozen=True)
class Levels:
    """Pixels in [-1, 1] to what the model sees, in [-1, 1] too, and back."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]

    def seen(self, pixels: Tensor) -> Tensor:
        """(B, C, ...) as the model sees it; what lies beyond its range is cut off."""
        return ((pixels - self._wide(self.mean, pixels)) / self._wide(self.scale, pixels)).clamp(
            -1, 1
        )

    def shown(self, seen: Tensor) -> Tensor:
        """The way back."""
        return (seen * self._wide(self.scale, seen) + self._wide(self.mean, seen)).clamp(-1, 1)

    def condition(self, cond: Condition) -> Condition:
        """Its pictures as the model sees them."""
        pictures = {name: self.seen(x) for name, x in cond.items() if name in ("image", "past")}
        return replace(cond, **pictures)

    def batch(self, batch: Batch) -> Batch:
        return replace(batch, video=self.seen(batch.video), cond=self.condition(batch.cond))

    def _wide(self, values: Sequence[float], like: Tensor) -> Tensor:
        return torch.tensor(values, device=like.device).view(-1, *(like.ndim - 2) * [1])


def set_levels(objective: Objective, levels: Levels) -> None:
    """Let an objective and its model see colours so. In place: no name of a weight changes.

    Raises ModelError for codecs, and models that work on their latents.
    """
    model = objective.model
    if any(isinstance(module, Codec) for module in [model, getattr(model, "codec", None)]):
        raise ModelError(
            "data.mean and data.scale are for models of pixels; latents have their own mean and "
            "standard deviation",
            fix="Leave them out.",
        )
    objective.__class__ = _objective_class(type(objective), levels)
    model.__class__ = _model_class(type(model), levels)


def _objective_class(kind: type[Objective], levels: Levels) -> type[Objective]:
    def loss(self: Objective, turn: str, batch: Batch, step: int) -> Losses:
        return kind.loss(self, turn, levels.batch(batch), step)

    def validation_loss(self: Objective, batch: Batch) -> Losses:
        return kind.validation_loss(self, levels.batch(batch))

    return type(kind.__name__, (kind,), {"loss": loss, "validation_loss": validation_loss})


def _model_class(kind: type[VideoModel], levels: Levels) -> type[VideoModel]:
    def draw(self: VideoModel, cond: Condition, *how: Any) -> Tensor:
        return levels.shown(kind.draw(self, levels.condition(cond), *how))

    @torch.no_grad()
    def edit(self: VideoModel, video: Tensor, cond: Condition, **how: Any) -> Tensor:
        seen = levels.seen(video)
        return levels.shown(kind.edit(self, seen, levels.condition(cond), **how))

    return type(kind.__name__, (kind,), {"draw": draw, "edit": edit})
