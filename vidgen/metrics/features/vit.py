"""Two published vision transformers: CLIP's image tower and VideoMAE v2.

Written out because vidgen depends on neither package; names follow the published state dicts.

Legend: B batch, T frames, H height, W width, L tokens, D width.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidgen.metrics.features.base import Extractor, InputSpec, by_frame
from vidgen.metrics.features.scripted import load

_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class ClipBlock(nn.Module):
    """Pre-norm attention and an MLP with the sigmoid approximation of GELU."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        fc, project = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.mlp = nn.ModuleDict({"c_fc": fc, "c_proj": project})

    def forward(self, x: Tensor) -> Tensor:
        h = self.ln_1(x)
        x = x + self.attn(h, h, h, need_weights=False)[0]
        h = self.mlp["c_fc"](self.ln_2(x))
        out: Tensor = x + self.mlp["c_proj"](h * torch.sigmoid(1.702 * h))
        return out


class ClipVision(nn.Module):
    """(B, 3, 224, 224) to (B, embed)."""

    def __init__(
        self,
        *,
        width: int = 768,
        depth: int = 12,
        patch: int = 32,
        embed: int = 512,
        side: int = 224,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros((side // patch) ** 2 + 1, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        blocks = nn.Sequential(*[ClipBlock(width, width // 64) for _ in range(depth)])
        self.transformer = nn.ModuleDict({"resblocks": blocks})
        self.proj = nn.Parameter(torch.zeros(width, embed))

    def forward(self, image: Tensor) -> Tensor:
        x = self.conv1(image).flatten(2).transpose(1, 2)  # (B, L, D)
        first = self.class_embedding.expand(len(x), 1, -1)
        x = self.ln_pre(torch.cat([first, x], 1) + self.positional_embedding)
        x = self.transformer["resblocks"](x)
        out: Tensor = self.ln_post(x[:, 0]) @ self.proj
        return out


class Clip(Extractor):
    """CLIP ViT-B/32's image embedding of each frame (Radford et al. 2021)."""

    mean: Tensor
    std: Tensor

    name: ClassVar[str] = "clip"
    version: ClassVar[str] = "vit-b-32"
    per: ClassVar[Literal["video", "frame"]] = "frame"
    dim = 512

    def __init__(self, path: Path, weights_hash: str) -> None:
        super().__init__()
        self.input = InputSpec(size=(224, 224), resize="bicubic")
        self.net = ClipVision().eval()
        published = load(path).state_dict()
        tower = {
            k.removeprefix("visual."): v for k, v in published.items() if k.startswith("visual.")
        }
        self.net.load_state_dict(tower)  # half precision on disk, float32 here
        self.weights_hash = weights_hash
        self.register_buffer("mean", torch.tensor(_CLIP_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_CLIP_STD).view(3, 1, 1), persistent=False)

    def extract(self, video: Tensor) -> Tensor:
        features: Tensor = self.net((by_frame(video) - self.mean) / self.std)
        return features


class MaeBlock(nn.Module):
    """Pre-norm attention, whose keys have no bias, and an MLP."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(width, eps=1e-6) for _ in range(2))
        self.attn = MaeAttention(width, heads)
        fc1, fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.mlp = nn.ModuleDict({"fc1": fc1, "fc2": fc2})

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))
        return out


class MaeAttention(nn.Module):
    """Multi-head attention over all tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        qkv = F.linear(x, self.qkv.weight, bias)  # (B, L, 3 D)
        q, k, v = qkv.reshape(*x.shape[:2], 3, self.heads, -1).permute(
            2, 0, 3, 1, 4
        )  # (B, heads, L, d)
        mixed = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return out


class MaeVision(nn.Module):
    """(B, 3, 16, 224, 224) to (B, D): tokens of 2 x 14 x 14 pixels, the mean of the last."""

    def __init__(
        self, *, width: int = 1408, depth: int = 40, heads: int = 16, hidden: int = 6144,
        classes: int = 174, side: int = 224, frames: int = 16,
    ) -> None:  # fmt: skip
        super().__init__()
        self.patch_embed = nn.ModuleDict(
            {"proj": nn.Conv3d(3, width, (2, 14, 14), stride=(2, 14, 14))}
        )
        self.blocks = nn.ModuleList(MaeBlock(width, heads, hidden) for _ in range(depth))
        self.fc_norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, classes)  # in the published file; features stop before it
        length = frames // 2 * (side // 14) ** 2
        self.register_buffer("positions", _sinusoids(length, width), persistent=False)

    def forward(self, video: Tensor) -> Tensor:
        x = self.patch_embed["proj"](video).flatten(2).transpose(1, 2) + self.positions  # (B, L, D)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.fc_norm(x.mean(1))
        return out


class VideoMae(Extractor):
    """VideoMAE v2 ViT-g, Something-Something v2 (Wang et al. 2023): content-debiased FVD.

    Ge et al. 2024: sees motion where I3D mostly sees content. Input in [0, 1], as their code has
    it.
    """

    name: ClassVar[str] = "videomae"
    version: ClassVar[str] = "v2-g-ssv2"
    dim = 1408

    def __init__(self, path: Path, weights_hash: str) -> None:
        super().__init__()
        self.input = InputSpec(size=(224, 224), frames=16, resize="bilinear")
        self.net = MaeVision().eval()
        published = torch.load(path, map_location="cpu", weights_only=True)
        self.net.load_state_dict(published["module"])
        self.weights_hash = weights_hash

    def extract(self, video: Tensor) -> Tensor:
        features: Tensor = self.net(video)
        return features


def _sinusoids(length: int, width: int) -> Tensor:
    """(length, width) fixed positions: sine at even, cosine at odd places (Vaswani et al. 2017)."""
    at = torch.arange(length, dtype=torch.float64)[:, None]
    pair = torch.arange(width, dtype=torch.float64) // 2
    angle = at / 10000 ** (2 * pair / width)
    table = torch.where(torch.arange(width) % 2 == 0, angle.sin(), angle.cos())
    return table.float()
