"""The gan family's VideoModel: one pass from noise to clip.

n videos, C channels, T frames, H height, W width.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Generator as Random
from torch import Tensor

from vidgen.models.base import VideoModel, VideoSpec
from vidgen.models.gan.config import Config
from vidgen.models.gan.network import Generator
from vidgen.types import Condition


class GanModel(VideoModel):
    """The generator, and how far it has grown.

    Attributes:
        level: the finest level in use.
        fade: how far it is blended in, up to 1.
    """

    differentiable: ClassVar = True
    level: Tensor
    fade: Tensor

    def __init__(self, config: Config, spec: VideoSpec) -> None:
        super().__init__()
        self.config = config
        self.conditions = frozenset(config.conditions)
        self.video_shape = spec.shape
        self.generator = Generator(config, spec)
        self.last = len(config.widths) - 1
        self.register_buffer("level", torch.tensor(0 if config.grow else self.last))
        self.register_buffer("fade", torch.tensor(1.0))

    def grow(self, step: int) -> None:
        """Set level and fade to those of a training step."""
        grow = self.config.grow
        if grow:
            level = sum(step >= since for since in grow)
            along = (step - grow[level - 1]) / max(1, self.config.fade_steps) if level else 1.0
            self.level.fill_(level)
            self.fade.fill_(min(1.0, along))

    def make(self, noise: Tensor, cond: Condition) -> Tensor:
        """(B, Z) to clips of the level's size, (B, C, T', H', W')."""
        made: Tensor = self.generator(noise, cond, int(self.level), float(self.fade))
        return made

    def draw(self, cond: Condition, n: int, guidance: float, generator: Random | None) -> Tensor:
        """See VideoModel. Guidance changes nothing. Before it is grown, clips are enlarged."""
        video = self.make(self.noise(n, self.config.noise, generator=generator), cond)
        if video.shape[1:] != self.video_shape:
            video = F.interpolate(video, size=self.video_shape[1:], mode="trilinear")
        return video.clamp(-1, 1)
