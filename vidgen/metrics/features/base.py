"""The one interface of every feature extractor: uint8 video in, float32 features out.

Legend: B batch, T frames, H height, W width, D feature size, K classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidgen.errors import EvaluationError


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What an extractor makes of a video before looking at it.

    Attributes:
        size: (height, width) that frames are resized to; None: the network resizes by itself.
        frames: exactly this many, picked evenly over time; None takes any number.
        least_frames: fewer cannot be used.
        resize: how frames are resized; 'area' is bilinear that averages when shrinking.
    """

    size: tuple[int, int] | None
    frames: int | None = None
    least_frames: int = 1
    resize: Literal["area", "bilinear", "bicubic"] = "area"


class Extractor(nn.Module, ABC):
    """Turns videos into vectors.

    Class attributes:
        name: its row in the table, part of every score's name.
        version: changes whenever the same video would give other features.
        per: what a feature vector describes; with 'frame' a video gives T vectors.
    Attributes:
        dim: D.
        classes: K, classes that `probabilities` tells apart; 0 when it cannot.
        input: see InputSpec.
        weights_hash: sha256 of the weights file; empty when there are no weights.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    per: ClassVar[Literal["video", "frame"]] = "video"
    dim: int
    classes: int = 0
    input: InputSpec
    weights_hash: str = ""

    @property
    def described(self) -> str:
        """Name, version and weights, for the protocol of its scores."""
        weights = f" sha256:{self.weights_hash[:12]}" if self.weights_hash else ""
        return f"{self.name} {self.version}{weights}"

    @abstractmethod
    def extract(self, video: Tensor) -> Tensor:
        """(B, D) or (B * T, D) features of a prepared (B, 3, T, H, W) float32 video in [0, 1]."""

    def classify(self, video: Tensor) -> Tensor:
        """(B, K) or (B * T, K) class probabilities of a prepared video."""
        raise EvaluationError(
            f"extractor {self.name} has no classes, so no Inception score",
            fix="Use one that has: inception, i3d or r3d18.",
        )

    @torch.inference_mode()
    def forward(self, video: Tensor) -> Tensor:
        """Features of a (B, 3, T, H, W) uint8 video. Raises EvaluationError for anything else."""
        return self.extract(self.prepare(video)).float()

    @torch.inference_mode()
    def probabilities(self, video: Tensor) -> Tensor:
        """Class probabilities of a (B, 3, T, H, W) uint8 video, rows sum to 1."""
        return self.classify(self.prepare(video)).float()

    def prepare(self, video: Tensor) -> Tensor:
        """Check, pick frames, scale to [0, 1], resize."""
        if video.dtype != torch.uint8 or video.ndim != 5 or video.shape[1] != 3:
            raise EvaluationError(
                f"extractor {self.name} got a {video.dtype} video of shape {tuple(video.shape)}",
                expected="uint8 of shape (B, 3, T, H, W)",
            )
        frames = video.shape[2]
        if frames < self.input.least_frames:
            raise EvaluationError(
                f"extractor {self.name} needs videos of at least {self.input.least_frames} frames, "
                f"got {frames}"
            )
        if self.input.frames and frames != self.input.frames:
            at = (
                torch.linspace(0, frames - 1, self.input.frames, device=video.device).round().long()
            )
            video = video[:, :, at]
        return resize(video.float() / 255, self.input)


def by_frame(video: Tensor) -> Tensor:
    """(B, C, T, H, W) to (B * T, C, H, W)."""
    return video.transpose(1, 2).flatten(0, 1)


def resize(video: Tensor, spec: InputSpec) -> Tensor:
    """(B, C, T, H, W) to the spec's size, frame by frame."""
    if spec.size is None or video.shape[-2:] == spec.size:
        return video
    frames = F.interpolate(
        by_frame(video),
        size=spec.size,
        mode="bicubic" if spec.resize == "bicubic" else "bilinear",
        align_corners=False,
        antialias=spec.resize != "bilinear",
    ).clamp(0, 1)
    shape = (video.shape[0], -1, *frames.shape[1:])
    return frames.reshape(shape).transpose(1, 2)
