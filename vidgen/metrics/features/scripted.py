"""The networks that define FID and FVD, as the TorchScript files everyone's scores come from.

Loading the very file leaves no room for a port that differs in a padding or a resize. TorchScript
is a program: it is only loaded after its hash matched.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from vidgen.metrics.features.base import Extractor, InputSpec, by_frame


def load(path: Path) -> Any:
    """A TorchScript file on the CPU, in eval mode."""
    return torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]


class _Scripted(Extractor):
    def __init__(self, path: Path, weights_hash: str) -> None:
        super().__init__()
        self.net: Any = load(path)
        self.weights_hash = weights_hash
        probe = torch.zeros(1, 3, self.input.least_frames, 64, 64, dtype=torch.uint8)
        self.dim = self(probe).shape[1]
        self.classes = self.probabilities(probe).shape[1]


class Inception(_Scripted):
    """Inception v3 of 2015-12-05, ImageNet, 2048 features a frame (Szegedy et al. 2015).

    NVIDIA's direct translation of the graph that Heusel et al. 2017 defined FID with; resizes to
    299 itself.
    """

    name: ClassVar[str] = "inception"
    version: ClassVar[str] = "2015-12-05"
    per: ClassVar[Literal["video", "frame"]] = "frame"

    def __init__(self, path: Path, weights_hash: str) -> None:
        self.input = InputSpec(size=None)
        super().__init__(path, weights_hash)

    def extract(self, video: Tensor) -> Tensor:
        features: Tensor = self.net(_bytes(by_frame(video)), return_features=True)
        return features

    def classify(self, video: Tensor) -> Tensor:
        # Without the softmax layer's bias, as in Salimans et al. 2016.
        probabilities: Tensor = self.net(_bytes(by_frame(video)), no_output_bias=True)
        return probabilities


class I3D(_Scripted):
    """Inflated 3D Inception, Kinetics-400 (Carreira and Zisserman 2017), before the softmax.

    The file and calling convention of StyleGAN-V (Skorokhodov et al. 2022); resizes to 224 itself.
    """

    name: ClassVar[str] = "i3d"
    version: ClassVar[str] = "kinetics-400"

    def __init__(self, path: Path, weights_hash: str) -> None:
        self.input = InputSpec(size=None, least_frames=10)
        super().__init__(path, weights_hash)

    def extract(self, video: Tensor) -> Tensor:
        features: Tensor = self.net(video * 255, rescale=True, resize=True, return_features=True)
        return features

    def classify(self, video: Tensor) -> Tensor:
        return self.extract(video).softmax(1)


def _bytes(frames: Tensor) -> Tensor:
    return (frames * 255).round().to(torch.uint8)
