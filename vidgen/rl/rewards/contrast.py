"""As far from grey, and from black and white, as real clips."""

from __future__ import annotations

from torch import Tensor

from vidgen.rl.rewards.level import Level


class Contrast(Level):
    """Standard deviation of the pixels of a clip, over all channels."""

    reads = "every frame by itself"

    def measure(self, video: Tensor) -> Tensor:
        return video.flatten(1).std(1)


build = Contrast
