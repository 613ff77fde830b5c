"""The autoregressive family's Objective: expect each token, given all before it."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from vidgen.config.base import FamilyConfig
from vidgen.models.autoregressive.config import Config
from vidgen.models.autoregressive.model import AutoregressiveModel
from vidgen.models.base import Objective, VideoSpec
from vidgen.nn.conditions import draw_kept
from vidgen.types import Batch, Losses


def build(config: FamilyConfig, spec: VideoSpec) -> AutoregressiveObjective:
    """The untrained objective for videos of `spec`."""
    return AutoregressiveObjective(cast(Config, config), spec)


class AutoregressiveObjective(Objective):
    """Cross-entropy of the tokens, in nats, a mean over them."""

    model: AutoregressiveModel

    def __init__(self, config: Config, spec: VideoSpec) -> None:
        super().__init__()
        self.config = config
        self.model = AutoregressiveModel(config, spec)

    def loss(self, turn: str, batch: Batch, step: int) -> Losses:
        """The one turn is 'model'; `step` does not matter."""
        names, dropout = sorted(self.model.conditions), self.config.condition_dropout
        keep = draw_kept(batch.seed, names, dropout, batch.video.device)
        errors, right = self._errors(batch, keep)
        return Losses(total=errors.mean(), parts={"right": right.mean()})

    def validation_loss(self, batch: Batch) -> Losses:
        """With all conditions shown."""
        errors, right = self._errors(batch, {})
        return Losses(total=errors, parts={"right": right})

    def blocks(self) -> list[nn.Module]:
        """Those of the transformer: the codec is frozen."""
        return list(self.model.network.blocks)

    def _errors(self, batch: Batch, keep: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Cross-entropy, and the share of tokens marked highest, of each sample, (B,)."""
        tokens = self.model.tokens(batch.video)  # (B, N)
        cond = batch.cond.only(*self.model.conditions)
        marks = self.model.network(tokens, cond, keep)  # (B, N, V)
        # Places as rows: classes in the second dimension would be copied there and back.
        errors = F.cross_entropy(marks.flatten(0, 1), tokens.flatten(), reduction="none")
        return errors.view_as(tokens).mean(1), (marks.argmax(2) == tokens).float().mean(1)
