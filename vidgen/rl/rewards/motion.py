"""As much motion as real clips have: neither frozen nor jumping."""

from __future__ import annotations

from torch import Tensor

from vidgen.rl.rewards.level import Level, luma


class Motion(Level):
    """Mean absolute change of brightness from frame to frame."""

    reads = "pairs of neighbouring frames"
    least = 2

    def measure(self, video: Tensor) -> Tensor:
        return luma(video).diff(dim=1).abs().flatten(1).mean(1)


build = Motion
