"""How different two videos look, by the features of vidgen-clip: LPIPS for video, without a name.

Zhang et al. 2018: features of several layers, each scaled to length 1 over its channels, squared
differences, averaged over places and layers. LPIPS itself is one 2D network with weights fitted to
people's judgements; this is their unweighted form on a network that also looks at time, and it is
called what it is: perceptual_vidgen-clip.

Legend: B videos, C channels, T frames, H height, W width.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from vidgen.metrics.features.base import resize
from vidgen.metrics.features.table import build_extractor
from vidgen.metrics.features.vidgen_clip import VidgenClip
from vidgen.metrics.frames import VideoMetric

_TINY = 1e-6


def perceptual_distance(extractor: VidgenClip, one: Tensor, other: Tensor) -> Tensor:
    """(B,) distances of two (B, 3, T, H, W) videos in [0, 1]; 0 for equal ones. Differentiable."""
    gaps = []
    for a, b in zip(
        *(extractor.net.maps(resize(x, extractor.input)) for x in (one, other)), strict=True
    ):
        # (B, T', C, S, S), length 1 over C in every place
        unit_a, unit_b = (x / (x.square().sum(2, keepdim=True) + _TINY).sqrt() for x in (a, b))
        gaps.append((unit_a - unit_b).square().sum(2).mean((1, 2, 3)))
    return torch.stack(gaps).mean(0)


class VideoPerceptual(VideoMetric):
    """`perceptual_distance` of videos from the clips they should equal, averaged over videos."""

    name = "perceptual_vidgen-clip"
    higher_is_better = False

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.extractor = _network().described

    @torch.inference_mode()
    def per_video(self, video: Tensor, truth: Tensor) -> Tensor:
        return perceptual_distance(_network(), (video + 1) / 2, (truth + 1) / 2)


@cache
def _network() -> VidgenClip:
    found = build_extractor("vidgen-clip")
    assert isinstance(found, VidgenClip)
    return found
