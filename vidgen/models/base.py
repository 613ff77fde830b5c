"""The two interfaces every model family implements, and the small helpers they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from vidgen.config.families import families_reading, package_of
from vidgen.config.run import RunConfig
from vidgen.errors import ModelError
from vidgen.types import Batch, Condition, Losses


@dataclass(frozen=True, kw_only=True)
class VideoSpec:
    """The videos a model is built for.

    Attributes:
        frames, height, width: T, H, W of one video.
        classes: how many labels exist; 0 when the data has none.
        channels: C.
    """

    frames: int
    height: int
    width: int
    classes: int = 0
    channels: int = 3

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(C, T, H, W)."""
        return self.channels, self.frames, self.height, self.width


class VideoModel(nn.Module, ABC):
    """Turns a Condition into video. Pixels out, whatever happens inside."""

    # Names of the Condition fields this model reads; the config may narrow it per instance.
    conditions: frozenset[str]
    # Those of them without which it makes nothing.
    needs: ClassVar[frozenset[str]] = frozenset()
    # Whether chance has a part in `sample`; a predictor has one answer.
    random: ClassVar[bool] = True
    # Training clips that `calibrate` wants to see when training ends; 0: none.
    calibration_clips: ClassVar[int] = 0
    # Whether a gradient finds its way through `sample` once that keeps one.
    differentiable: ClassVar[bool] = False
    # (C, T, H, W) of one generated video.
    video_shape: tuple[int, int, int, int]

    @abstractmethod
    def draw(self, cond: Condition, n: int, guidance: float, generator: Generator | None) -> Tensor:
        """What a family does when it is asked to `sample`: cond is checked, and on its device."""

    @torch.no_grad()
    def sample(
        self,
        cond: Condition,
        n: int,
        *,
        guidance: float = 1.0,
        generator: Generator | None = None,
    ) -> Tensor:
        """Generate n videos, (n, C, T, H, W) in [-1, 1].

        `cond` has n rows in each given field. Deterministic given a generator.
        Raises ModelError for a condition the model was not trained with.
        """
        self.check(cond)
        return self.draw(cond.to(self.device), n, guidance, generator)

    def sample_with_grad(
        self, cond: Condition, n: int, *, generator: Generator | None = None
    ) -> Tensor:
        """`sample` without guidance, but its result can be differentiated; only where
        `differentiable`."""
        assert self.differentiable
        self.check(cond)
        return self.draw(cond.to(self.device), n, 1.0, generator)

    def noise(self, *shape: int, generator: Generator | None) -> Tensor:
        """Normal numbers on the model's device, drawn where the generator is."""
        at = generator.device if generator is not None else self.device
        return torch.randn(*shape, generator=generator, device=at).to(self.device)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.parameters()).device

    def beside(
        self, batch: Batch, *, guidance: float = 1.0, generator: Generator | None = None
    ) -> Tensor:
        """The videos to lay beside real ones, (B, C, T, H, W): made from the same conditions.

        Models that make videos out of videos override it.
        """
        return self.sample(batch.cond, len(batch), guidance=guidance, generator=generator)

    def edit(
        self,
        video: Tensor,
        cond: Condition,
        *,
        strength: float,
        guidance: float = 1.0,
        generator: Generator | None = None,
    ) -> Tensor:
        """Make a video over, (B, C, T, H, W) to the same shape; `strength` from 0, as it is, to 1,
        nothing of it left. Raises ModelError for families that cannot."""
        raise ModelError(
            f"{type(self).__name__} cannot make videos over", fix="Models of family flow can."
        )

    def calibrate(self, batches: Iterable[Batch]) -> None:
        """Set buffers that follow from the data and the final weights."""

    def check(self, cond: Condition) -> None:
        """Raise ModelError for a field that this model does not read, or needs and lacks."""
        for name in sorted(cond.given - self.conditions):
            known = ", ".join(sorted(self.conditions)) or "none"
            able = ", ".join(families_reading(name))
            raise ModelError(
                f"this model takes no '{name}' condition",
                expected=f"one of: {known}",
                fix=f"Train with model.conditions including '{name}' (families that take it: "
                f"{able}), or leave it out.",
            )
        for name in sorted(self.needs - cond.given):
            raise ModelError(f"this model needs the condition '{name}', which is not given")


class Objective(nn.Module, ABC):
    """Turns a Batch into Losses; its state_dict holds every weight that training changes."""

    model: VideoModel
    # Whether the parts of its Losses are losses too, and are named so in the metrics.
    parts_are_losses: ClassVar[bool] = True

    def turns(self) -> dict[str, nn.Module]:
        """Networks to update one after another in a step, each with its own optimizer."""
        return {"model": self.model}

    @abstractmethod
    def loss(self, turn: str, batch: Batch, step: int) -> Losses:
        """Losses of `turn` on a batch.

        Every random draw comes from `batch.seed`, so that the result does not depend on how ranks
        share a global batch.
        """

    def blocks(self) -> list[nn.Module]:
        """Repeated parts, small against the whole, that are only ever called: what is sharded,
        recomputed and compiled one at a time. By default the members of every ModuleList."""
        found: list[nn.Module] = []

        def look(module: nn.Module) -> None:
            for child in module.children():
                if isinstance(module, nn.ModuleList) and next(child.parameters(), None) is not None:
                    found.append(child)
                else:
                    look(child)

        look(self)
        return found

    def validation_loss(self, batch: Batch) -> Losses:
        """A low-noise loss for validation: same contract, fixed randomness, no gradient needed.

        `total` and every part are (B,) tensors: one value per sample, averaged by the caller over
        the whole split, so that neither batch size nor rank count changes the number.
        """
        raise ModelError(f"{type(self).__name__} has no validation loss")


def build_objective(config: RunConfig) -> Objective:
    """The untrained objective of a run; a family's package builds it in `objective.build`.

    The caller seeds torch: weights depend on the global generator alone. Raises ModelError if model
    and data do not fit each other.
    """
    if "label" in config.model.conditions and not config.data.labels:
        raise ModelError(
            "the model is conditioned on 'label', but the data has no labels",
            fix="Give a data set with a label column, or take 'label' out of model.conditions.",
        )
    spec = VideoSpec(
        frames=config.data.frames,
        height=config.data.height,
        width=config.data.width,
        classes=len(config.data.labels),
    )
    family = import_module(f"{package_of(config.model.family)}.objective")
    objective: Objective = family.build(config.model, spec)
    if config.data.has_levels:
        from vidgen.models.levels import Levels, set_levels

        set_levels(objective, Levels(config.data.mean, config.data.scale))
    return objective
