"""The gan family's Objective: generator against discriminator.

B batch, C channels, T frames, H height, W width.
"""

from __future__ import annotations

from functools import partial
from typing import cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from vidgen.config.base import FamilyConfig
from vidgen.models.base import Objective, VideoSpec
from vidgen.models.gan.augment import augmented, draw_changes
from vidgen.models.gan.config import Config
from vidgen.models.gan.model import GanModel
from vidgen.models.gan.network import Discriminator, smaller
from vidgen.nn.losses import critic_loss, fooling_loss, gradient_penalty
from vidgen.types import Batch, Condition, Losses

_REAL, _MADE, _MAKER = 0x5EA1, 0x3ADE, 0x717E  # tell the draws for one clip apart


def build(config: FamilyConfig, spec: VideoSpec) -> GanObjective:
    """The untrained objective for videos of `spec`."""
    return GanObjective(cast(Config, config), spec)


class GanObjective(Objective):
    """R3GAN (arXiv:2501.05441) on clips: relativistic pairs, R1 and R2, here with a condition that
    the discriminator checks, and adaptive augmentation.

    Attributes:
        often: how often clips are augmented.
        sure, seen: excess of real clips marked above zero, and clips, since `often` last changed.
    """

    model: GanModel
    often: Tensor
    sure: Tensor
    seen: Tensor
    at: Tensor

    def __init__(self, config: Config, spec: VideoSpec) -> None:
        super().__init__()
        self.config = config
        self.model = GanModel(config, spec)
        self.critic = Discriminator(config, spec)
        for name in ("often", "sure", "seen"):
            self.register_buffer(name, torch.zeros(()))
        self.register_buffer("at", torch.zeros((), dtype=torch.int64))  # step of `sure`

    def turns(self) -> dict[str, nn.Module]:
        return {"critic": self.critic, "model": self.model}

    def loss(self, turn: str, batch: Batch, step: int) -> Losses:
        if self.training:
            self.model.grow(step)
        cond = batch.cond.only(*self.model.conditions)
        real = smaller(batch.video, self.model.last - int(self.model.level))
        return (self._critic if turn == "critic" else self._maker)(batch, real, cond, step)

    def validation_loss(self, batch: Batch) -> Losses:
        """How far clips are from the real ones in coarse colours: what a condition asks for shows
        there first, and no discriminator has a say."""
        cond = batch.cond.only(*self.model.conditions)
        made = self.model.make(self._noise(batch, _MAKER), cond)
        error = _coarse_error(made, batch.video, self.config.coarse_box)
        return Losses(total=error, parts={"coarse": error})

    def _critic(self, batch: Batch, real: Tensor, cond: Condition, step: int) -> Losses:
        config = self.config
        self._adapt(step)
        with torch.no_grad():
            made = self.model.make(self._noise(batch, _MADE), cond)
        real = augmented(real, self.often, draw_changes(batch.seed, _REAL))
        made = augmented(made, self.often, draw_changes(batch.seed, _MADE))
        mark = self._mark(cond, len(batch))
        above, below = mark(real), mark(made)
        marks = critic_loss(config.loss, above, below)
        self._remember(above, below)
        parts = {"marks": marks.mean().detach(), "augment": self.often.clone()}
        total = marks.mean()
        if step % config.penalty_every == 0:
            slope = gradient_penalty(mark, real) + gradient_penalty(mark, made)
            total = total + config.penalty * config.penalty_every / 2 * slope.mean()
        return Losses(total=total + _zero(self.critic), parts=parts)

    def _maker(self, batch: Batch, real: Tensor, cond: Condition, step: int) -> Losses:
        made = self.model.make(self._noise(batch, _MAKER), cond)
        mark = self._mark(cond, len(batch))
        above = mark(augmented(real, self.often, draw_changes(batch.seed, _REAL)))
        below = mark(augmented(made, self.often, draw_changes(batch.seed, _MAKER)))
        fooling = fooling_loss(self.config.loss, above, below).mean()
        total, parts = fooling + _zero(self.model), {"fooling": fooling.detach()}
        if share := self._coarse_share(step):
            coarse = _coarse_error(made, batch.video, self.config.coarse_box).mean()
            total = total + self.config.coarse * share * coarse
            parts["coarse"] = coarse.detach()
        return Losses(total=total, parts=parts)

    def _coarse_share(self, step: int) -> float:
        """How much of `coarse` still counts."""
        config = self.config
        if not config.coarse or not config.coarse_until:
            return float(config.coarse > 0)
        return max(0.0, 1 - step / config.coarse_until)

    def _mark(self, cond: Condition, n: int) -> partial[Tensor]:
        """The discriminator at the level in use, for clips that a condition asks for."""
        level, fade = int(self.model.level), float(self.model.fade)
        asked = self.critic.asked(cond, n)
        return partial(self.critic, asked=asked, cond=cond, level=level, fade=fade)

    def _noise(self, batch: Batch, salt: int) -> Tensor:
        rows = [
            torch.randn(
                self.config.noise,
                generator=torch.Generator().manual_seed((seed ^ salt) & (2**63 - 1)),
            )
            for seed in batch.seed.tolist()
        ]
        return torch.stack(rows).to(batch.video.device)

    @torch.no_grad()
    def _remember(self, real: Tensor, made: Tensor) -> None:
        """Count how sure the discriminator is, over all ranks; relativistic marks have no zero, so
        a real clip is marked against the made one beside it."""
        if not self.training or not self.config.augment:
            return
        margin = real - made if self.config.loss == "relativistic" else real
        counts = torch.stack([margin.sign().sum(), margin.new_tensor(float(len(margin)))])
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(counts)
        self.sure += counts[0]
        self.seen += counts[1]

    @torch.no_grad()
    def _adapt(self, step: int) -> None:
        """Once a step, whatever parts its batch comes in."""
        if not self.training or step == int(self.at) or not float(self.seen):
            return
        wish = torch.sign(self.sure / self.seen - self.config.augment)
        change = wish * self.seen * self.config.augment_speed
        self.often.copy_((self.often + change).clamp(0, 0.8))
        self.sure.zero_()
        self.seen.zero_()
        self.at.fill_(step)


def _coarse_error(made: Tensor, real: Tensor, box: int) -> Tensor:
    """Mean squared difference of boxes of so many frames, rows and columns, (B,); `made` may be
    smaller."""
    t, h, w = (
        max(1, min(whole // box, side))
        for whole, side in zip(real.shape[2:], made.shape[2:], strict=True)
    )
    far = F.adaptive_avg_pool3d(made, (t, h, w)) - F.adaptive_avg_pool3d(real, (t, h, w))
    return far.square().flatten(1).mean(1)


def _zero(network: nn.Module) -> Tensor:
    """Nothing, with a gradient for every weight: levels that are not in use yet have zeros, which
    ranks can add up."""
    return 0.0 * torch.stack([weight.sum() for weight in network.parameters()]).sum()
