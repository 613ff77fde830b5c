"""Motion without jerks: each frame lies between its neighbours."""

from __future__ import annotations

from torch import Tensor

from vidgen.rl.rewards.level import Fault, luma


class Smoothness(Fault):
    """Mean absolute second difference of the brightness over time."""

    reads = "three neighbouring frames"
    differentiable = True

    def measure(self, video: Tensor) -> Tensor:
        return luma(video).diff(n=2, dim=1).abs().flatten(1).mean(1)


build = Smoothness
