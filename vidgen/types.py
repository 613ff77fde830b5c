"""The values that flow through vidgen: clips become a Batch, an Objective turns it into Losses.

Shape legend: B batch, C channels (3), T frames, H height, W width, L caption bytes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

TEXT_BYTES = 128  # captions are UTF-8 bytes, cut to this many; 0 is padding


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What a model is asked to show. Every field is optional; None means 'not given'.

    Attributes:
        label: (B,) int64 class indices; -1 drops the label of that sample.
        text: (B, L) int64 UTF-8 bytes, 0 = padding; an all-zero row drops the text of that sample.
        image: (B, C, H, W) float in [-1, 1], the first frame.
        sketch: (B, 1, T, H, W) float in [0, 1], edge strength.
        past: (B, C, P, H, W) float in [-1, 1], frames that come before.
    """

    label: Tensor | None = None
    text: Tensor | None = None
    image: Tensor | None = None
    sketch: Tensor | None = None
    past: Tensor | None = None

    @property
    def given(self) -> frozenset[str]:
        """Names of the given fields."""
        return frozenset(name for name, _ in self.items())

    def items(self) -> Iterator[tuple[str, Tensor]]:
        """The given fields by name."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None:
                yield field.name, value

    def map(self, function: Any) -> Condition:
        """Apply `function(tensor) -> tensor` to every given field."""
        return Condition(**{name: function(value) for name, value in self.items()})

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Condition:
        """The same on a device."""
        return self.map(lambda value: value.to(device, non_blocking=non_blocking))

    def __getitem__(self, index: slice | Tensor) -> Condition:
        """Rows of the batch."""
        return self.map(lambda value: value[index])

    def only(self, *names: str) -> Condition:
        """Keep the named fields, drop the others."""
        return Condition(**{name: value for name, value in self.items() if name in names})


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Clips ready for an Objective.

    Attributes:
        video: (B, C, T, H, W) float in [-1, 1].
        cond: matching conditions.
        seed: (B,) int64; one independent random stream per sample, a function of (run seed, epoch,
            global position) alone, so that a loss does not depend on how ranks share the batch.
    """

    video: Tensor
    cond: Condition
    seed: Tensor

    def __post_init__(self) -> None:
        assert self.video.ndim == 5, f"video must be (B, C, T, H, W), got {tuple(self.video.shape)}"
        assert self.seed.shape == (len(self),), f"one seed per sample, got {self.seed.shape}"
        for name, value in self.cond.items():
            assert len(value) == len(self), f"cond.{name} has {len(value)} rows, not {len(self)}"

    def __len__(self) -> int:
        return self.video.shape[0]

    def __getitem__(self, rows: slice) -> Batch:
        return Batch(video=self.video[rows], cond=self.cond[rows], seed=self.seed[rows])

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
        """The same on a device, but for the seeds."""
        return Batch(
            video=self.video.to(device, non_blocking=non_blocking),
            cond=self.cond.to(device, non_blocking=non_blocking),
            seed=self.seed,  # drawn from on the CPU
        )


@dataclass(frozen=True, kw_only=True)
class Losses:
    """What one turn of an Objective returns.

    Attributes:
        total: scalar to differentiate, mean over the samples of this batch.
        parts: named detached scalars for the log.
    """

    total: Tensor
    parts: dict[str, Tensor]


def to_uint8(video: Tensor) -> Tensor:
    """Pixels in [-1, 1] as uint8 from 0 to 255, same shape."""
    return ((video.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def encode_text(captions: list[str], length: int = TEXT_BYTES) -> Tensor:
    """Captions as (B, length) int64 UTF-8 bytes, zero-padded, cut at `length`."""
    out = torch.zeros(len(captions), length, dtype=torch.int64)
    for row, caption in enumerate(captions):
        data = list(caption.encode("utf-8").replace(b"\0", b"")[:length])
        out[row, : len(data)] = torch.tensor(data, dtype=torch.int64)
    return out


def decode_text(row: Tensor) -> str:
    """The caption in one row of `encode_text`; a character cut in two at the end is left out."""
    return bytes(row[row != 0].tolist()).decode("utf-8", errors="ignore")
