"""A generator with a critic: two turns in a step, each with its own optimizer."""

from __future__ import annotations

import time
from pathlib import Path

import torch
import torch.distributed as dist
from engine.duet.config import Config
from torch import Generator, Tensor, nn

from vidgen.models.base import Objective, VideoModel, VideoSpec
from vidgen.types import Batch, Condition, Losses


class Model(VideoModel):
    def __init__(self, config: Config, spec: VideoSpec) -> None:
        super().__init__()
        self.conditions = frozenset(config.conditions)
        self.video_shape = (spec.channels, spec.frames, spec.height, spec.width)
        self.labels = nn.Embedding(max(1, spec.classes), config.width)
        self.body = nn.Linear(config.width, config.width)
        self.codec = nn.Linear(config.width, int(torch.tensor(self.video_shape).prod()))
        self.codec.requires_grad_(False)
        self.register_buffer("scale", torch.tensor(0.5))

    def forward(self, noise: Tensor, label: Tensor | None) -> Tensor:
        hidden = self.body(noise)
        if label is not None:
            hidden = hidden + self.labels(label.clamp(min=0))
        flat = torch.tanh(self.scale * self.codec(hidden))
        return flat.view(-1, *self.video_shape)

    def draw(self, cond: Condition, n: int, guidance: float, generator: Generator | None) -> Tensor:
        return self(self.noise(n, self.body.in_features, generator=generator), cond.label)


class Duet(Objective):
    def __init__(self, config: Config, spec: VideoSpec) -> None:
        super().__init__()
        self.config = config
        self.model = Model(config, spec)
        self.critic = nn.Sequential(nn.Flatten(), nn.LazyLinear(8), nn.Tanh(), nn.Linear(8, 1))
        self.critic(torch.zeros(1, *self.model.video_shape))

    def turns(self) -> dict[str, nn.Module]:
        return {"critic": self.critic, "model": self.model}

    def loss(self, turn: str, batch: Batch, step: int) -> Losses:
        if self.training and turn == "model":
            self._play_up(step)
        if self.config.slow_s:
            time.sleep(self.config.slow_s / 2)
        noise = torch.stack(
            [torch.randn(16, generator=Generator().manual_seed(int(s))) for s in batch.seed]
        )
        fake = self.model(noise.to(batch.video.device), batch.cond.label)
        if turn == "critic":
            real_loss = (self.critic(batch.video) - 1).square().mean()
            total = real_loss + self.critic(fake.detach()).square().mean()
            return Losses(total=total, parts={"real": real_loss.detach()})
        error = (fake - batch.video).square().mean()
        total = error + 0.1 * (self.critic(fake) - 1).square().mean()
        if step == self.config.explode_at:
            total = total * float("nan")
        return Losses(total=total, parts={"error": error.detach()})

    def _play_up(self, step: int) -> None:
        if step == self.config.hungry_at:
            torch.empty(2**50)
        rank = dist.get_rank() if dist.is_initialized() else 0
        if self.config.journal and rank == 0:
            with Path(self.config.journal).open("a") as file:
                file.write(f"{step}\n")
        while step == self.config.gate_at and not Path(self.config.gate).exists():
            time.sleep(0.05)
        if step != self.config.hang_at or rank != self.config.hang_rank:
            return
        mark = Path(self.config.hang_once) if self.config.hang_once else None
        if mark is not None and mark.exists():
            return
        if mark is not None:
            mark.touch()
        while True:
            time.sleep(1)

    def validation_loss(self, batch: Batch) -> Losses:
        noise = torch.zeros(len(batch), 16, device=batch.video.device)
        error = (self.model(noise, batch.cond.label) - batch.video).square().flatten(1).mean(1)
        return Losses(total=error, parts={"error": error})


def build(config: Config, spec: VideoSpec) -> Duet:
    return Duet(config, spec)
