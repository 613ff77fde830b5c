"""What a model may be told about a clip, made from the clip itself.

Legend: B clips, T frames, P past frames, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vidgen.types import Condition, encode_text


def make_condition(
    names: Sequence[str],
    video: Tensor,
    *,
    past: Tensor | None,
    captions: list[str],
    labels: list[int],
) -> Condition:
    """The named conditions of clips.

    Args:
        names: any of label, text, image, sketch, past.
        video: (B, 3, T, H, W) in [-1, 1].
        past: (B, 3, P, H, W), the frames before `video`; needed if "past" is named.
        captions: empty where there is none.
        labels: class indices, -1 where there is none.
    """
    return Condition(
        label=torch.tensor(labels, dtype=torch.int64) if "label" in names else None,
        text=encode_text(captions) if "text" in names else None,
        image=video[:, :, 0].contiguous() if "image" in names else None,
        sketch=sketch(video) if "sketch" in names else None,
        past=past if "past" in names else None,
    )


def sketch(video: Tensor) -> Tensor:
    """Edge strength of a video, (B, 3, T, H, W) in [-1, 1] -> (B, 1, T, H, W) in [0, 1].

    Sobel gradient of luma, scaled so that a step from black to white is 1.
    """
    b, _, t, h, w = video.shape
    weights = video.new_tensor([0.2126, 0.7152, 0.0722])  # BT.709
    luma = torch.einsum("bcthw,c->bthw", (video + 1) / 2, weights).reshape(b * t, 1, h, w)
    across = video.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 4
    kernel = torch.stack([across, across.T])[:, None]  # (2, 1, 3, 3)
    gradient = F.conv2d(F.pad(luma, (1, 1, 1, 1), mode="replicate"), kernel)  # (B*T, 2, H, W)
    edges: Tensor = gradient.square().sum(1).sqrt().clamp(0, 1)
    return edges.reshape(b, t, h, w)[:, None]
