"""A small config of every family, for contract tests: seconds on one core."""

from __future__ import annotations

from typing import Any

import torch

from vidgen.config.run import RunConfig
from vidgen.types import Batch, Condition, encode_text

# fmt: off
TINY: dict[str, dict[str, Any]] = {
    "flow": {
        "patch": [2, 4, 4],
        "width": 48,
        "depth": 2,
        "heads": 2,
        "conditions": ["label", "text", "image"],
    },
    "gan": {
        "noise": 8, "widths": [12, 8], "patch": [1, 2, 2], "text_width": 12,
        "condition_width": 12, "conditions": ["label", "text", "image"],
    },
    "vae": {
        "patch": [1, 2, 2], "widths": [16, 48], "blocks": [1, 1], "shrink": [[2, 2, 2]],
        "latent_channels": 48, "loss": {"pixel": "mse"},
    },
    "autoregressive": {
        "width": 36, "depth": 2, "heads": 2, "text_width": 16, "text_tokens": 2,
        "conditions": ["label", "text", "image"],
        "codec": {
            "run": "nowhere",
            "model": {
                "family": "vae", "patch": [2, 4, 4], "widths": [8], "blocks": [1], "shrink": [],
                "levels": [4, 3],
            },
        },
    },
    "recurrent": {"past_frames": 3, "patch": 2, "width": 12, "depth": 2, "truth_until": 4},
    "convolutional": {
        "past_frames": 3, "levels": 1, "width": 8, "translator_width": 24, "depth": 2,
    },
}
# fmt: on


def tiny_config(family: str, **model: Any) -> RunConfig:
    """4 frames of 8x8 pixels, three classes."""
    return RunConfig.model_validate(
        {
            "name": f"tiny-{family}",
            "data": {
                "url": "unused",
                "frames": 4,
                "height": 8,
                "width": 8,
                "labels": ["a", "b", "c"],
            },
            "model": {"family": family, **TINY[family], **model},
            "train": {"batch_size": 4},
        }
    )


def tiny_batch(config: RunConfig, size: int = 4, seed: int = 0) -> Batch:
    """Random clips with every condition the model reads."""
    g = torch.Generator().manual_seed(seed)
    t, h, w = config.data.frames, config.data.height, config.data.width
    video = torch.rand(size, 3, t, h, w, generator=g) * 2 - 1
    every = Condition(
        label=torch.arange(size) % len(config.data.labels),
        text=encode_text([f"clip number {i}" for i in range(size)]),
        image=video[:, :, 0],
        sketch=torch.rand(size, 1, t, h, w, generator=g),
        past=torch.rand(size, 3, max(1, config.model.past_frames), h, w, generator=g) * 2 - 1,
    )
    seeds = torch.randint(2**62, (size,), generator=g)
    return Batch(video=video, cond=every.only(*config.model.conditions), seed=seeds)
