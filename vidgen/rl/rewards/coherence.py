"""Things stay what they are: a frame is its predecessor moved along the optical flow."""

from __future__ import annotations

from torch import Tensor

from vidgen.metrics.temporal import MEASURES, measure_all
from vidgen.rl.rewards.level import Fault
from vidgen.types import to_uint8


class Coherence(Fault):
    """Flow warping error (Lai et al. 2018). A frozen video has none: pair it with motion."""

    reads = "pairs of neighbouring frames"

    def measure(self, video: Tensor) -> Tensor:
        errors = measure_all(to_uint8(video))[:, MEASURES.index("warp_error")]
        return errors.float().to(video.device)


build = Coherence
