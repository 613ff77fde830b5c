"""PSNR and SSIM of videos against a ground truth, frame by frame.

Legend: B videos, C channels, T frames, H height, W width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.image import structural_similarity_index_measure
from torchmetrics.utilities import dim_zero_cat

from vidgen.errors import EvaluationError

RANGE = 2.0  # of pixel values: [-1, 1]


class VideoMetric(Metric, ABC):
    """A per-video number, averaged over all videos; merges across ranks.

    `extractor` is what looks at the pixels, for the protocol; empty for plain arithmetic.
    """

    higher_is_better = True
    full_state_update = False
    name: str
    unit = ""
    extractor = ""
    values: list[Tensor]

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.add_state("values", default=[], dist_reduce_fx="cat")

    @abstractmethod
    def per_video(self, video: Tensor, truth: Tensor) -> Tensor:
        """(B,) numbers for two (B, C, T, H, W) tensors in [-1, 1]."""

    def update(self, video: Tensor, truth: Tensor) -> None:
        """Add (B, C, T, H, W) videos in [-1, 1]. EvaluationError for what cannot be scored."""
        if video.shape != truth.shape or video.ndim != 5:
            raise EvaluationError(
                f"{self.name} needs videos of one size, got {tuple(video.shape)} "
                f"and {tuple(truth.shape)}",
                expected="two (B, C, T, H, W) tensors",
            )
        video, truth = video.float(), truth.float()
        if not (video.isfinite().all() and truth.isfinite().all()):
            raise EvaluationError(f"{self.name}: a video has NaN or infinite pixels")
        self.values.append(self.per_video(video.clamp(-1, 1), truth.clamp(-1, 1)).double())

    def sync(self, *args: Any, **kwargs: Any) -> None:
        # A rank that saw no video must still hand over a tensor.
        if not len(self.values):
            self.values = [torch.zeros(0, dtype=torch.float64, device=self.device)]
        super().sync(*args, **kwargs)

    def compute(self) -> Tensor:
        """Mean over videos."""
        return self.all_values().mean()

    def all_values(self) -> Tensor:
        """(N,) one number per video, in the order they came."""
        found: Tensor = dim_zero_cat(self.values)
        return found


class VideoPSNR(VideoMetric):
    """Peak signal-to-noise ratio in dB: per frame, then the mean over frames.

    An exact frame would be infinitely good and swallow the mean, so it counts as 100 dB.
    """

    name = "psnr"
    unit = "dB"
    CEILING = 100.0

    def per_video(self, video: Tensor, truth: Tensor) -> Tensor:
        error = (video - truth).square().mean(dim=(1, 3, 4))  # (B, T)
        return (10 * torch.log10(RANGE**2 / error)).clamp(max=self.CEILING).mean(1)


class VideoSSIM(VideoMetric):
    """Structural similarity (Wang et al. 2004): per frame, then the mean over frames.

    Gaussian window of 11 pixels, sigma 1.5; like the paper's and scikit-image's, and unlike
    torchmetrics' own mean, it leaves out the border where the window hangs over the edge.
    """

    name = "ssim"
    BORDER = 5

    def per_video(self, video: Tensor, truth: Tensor) -> Tensor:
        b, _, t, h, w = video.shape
        if min(h, w) <= 2 * self.BORDER:
            raise EvaluationError(
                f"ssim cannot score {h}x{w} frames: the window is {2 * self.BORDER + 1} wide",
                expected=f"at least {2 * self.BORDER + 1} pixels each way",
            )
        _, full = structural_similarity_index_measure(
            video.transpose(1, 2).flatten(0, 1),  # (B T, C, H, W)
            truth.transpose(1, 2).flatten(0, 1),
            data_range=RANGE,
            reduction="none",
            return_full_image=True,
        )
        inner = full[..., self.BORDER : h - self.BORDER, self.BORDER : w - self.BORDER]
        return inner.flatten(1).mean(1).view(b, t).mean(1)
