"""R3D-18 trained on Kinetics-400 (Tran et al. 2018), as published with torchvision.

Written out because vidgen does not depend on torchvision; names follow the published state dict.

Legend: B batch, C channels, T frames, H height, W width.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from vidgen.metrics.features.base import Extractor, InputSpec

_MEAN = (0.43216, 0.394666, 0.37645)
_STD = (0.22803, 0.22145, 0.216989)
_CROP = 112


class Block(nn.Module):
    """Two 3x3x3 convolutions around a shortcut."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(
            _conv(inside, outside, stride), nn.BatchNorm3d(outside), nn.ReLU()
        )
        self.conv2 = nn.Sequential(_conv(outside, outside, 1), nn.BatchNorm3d(outside))
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inside != outside:
            project = nn.Conv3d(inside, outside, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(project, nn.BatchNorm3d(outside))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv2(self.conv1(x)) + self.downsample(x))


class Network(nn.Module):
    """(B, 3, T, 112, 112) to (B, 512) features; `fc` turns them into class logits."""

    def __init__(self, classes: int = 400) -> None:
        super().__init__()
        stem = nn.Conv3d(3, 64, (3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3), bias=False)
        self.stem = nn.Sequential(stem, nn.BatchNorm3d(64), nn.ReLU())
        self.layer1 = nn.Sequential(Block(64, 64, 1), Block(64, 64, 1))
        self.layer2 = nn.Sequential(Block(64, 128, 2), Block(128, 128, 1))
        self.layer3 = nn.Sequential(Block(128, 256, 2), Block(256, 256, 1))
        self.layer4 = nn.Sequential(Block(256, 512, 2), Block(512, 512, 1))
        self.fc = nn.Linear(512, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)  # (B, 64, T, 56, 56)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))  # (B, 512, T/8, 7, 7)
        return x.mean((2, 3, 4))


class R3D18(Extractor):
    """Pooled features before the classifier."""

    mean: Tensor
    std: Tensor

    name: ClassVar[str] = "r3d18"
    version: ClassVar[str] = "kinetics-400-v1"
    dim = 512
    classes = 400

    def __init__(self, path: Path, weights_hash: str) -> None:
        super().__init__()
        self.input = InputSpec(size=(128, 171), least_frames=8)
        self.net = Network().eval()
        self.net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        self.weights_hash = weights_hash
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(3, 1, 1, 1), persistent=False)

    def extract(self, video: Tensor) -> Tensor:
        top, left = (video.shape[-2] - _CROP) // 2, round((video.shape[-1] - _CROP) / 2)
        crop = video[..., top : top + _CROP, left : left + _CROP]
        features: Tensor = self.net((crop - self.mean) / self.std)
        return features

    def classify(self, video: Tensor) -> Tensor:
        logits: Tensor = self.net.fc(self.extract(video))
        return logits.softmax(1)


def _conv(inside: int, outside: int, stride: int) -> nn.Conv3d:
    return nn.Conv3d(inside, outside, 3, stride=stride, padding=1, bias=False)
