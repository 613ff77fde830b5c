"""The base of transformers over the places of a video: what they are told reaches them alike.

B batch, C channels, P past frames, K text tokens, D width; N = t h w places, each a box (a, b, c)
of pixels, S = h w of them at one time.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidgen.config.transformer import TransformerConfig
from vidgen.nn.attention import rope_angles
from vidgen.nn.conditions import LabelEmbedding, TextEncoder, kept
from vidgen.nn.patches import patchify
from vidgen.types import Condition


class Conditioned(nn.Module):
    """Encoders of the conditions that the config names; the others are None. Rotation, (K+N, D/H/2)
    with H heads, tells attention how far apart two places are."""

    cos: Tensor
    sin: Tensor
    text: TextEncoder | None
    label: LabelEmbedding | None
    image: nn.Linear | None
    sketch: nn.Linear | None
    past: nn.Linear | None

    def add_encoders(
        self,
        config: TransformerConfig,
        *,
        channels: int,
        classes: int,
        box: tuple[int, int, int],
    ) -> None:
        """Pictures among the conditions are pixels, whatever the network works on."""
        self.box, width = box, config.width
        flat = box[1] * box[2]  # pixels of a box in one frame
        self.text = self.label = self.image = self.sketch = self.past = None
        if "text" in config.conditions:
            self.text = TextEncoder(width=config.text_width, tokens=config.text_tokens, out=width)
        if "label" in config.conditions:
            self.label = LabelEmbedding(classes, width)
        if "image" in config.conditions:
            self.image = nn.Linear(channels * flat, width)
        if "sketch" in config.conditions:
            self.sketch = nn.Linear(box[0] * flat, width)
        if "past" in config.conditions:
            self.past = nn.Linear(channels * config.past_frames * flat, width)

    def add_rotation(self, grid: tuple[int, int, int], head_width: int, *, words: int) -> None:
        """Words stand before the places and have none in the video: they are not rotated."""
        angles = F.pad(rope_angles(grid, head_width), (0, 0, words, 0))
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def caption(self, cond: Condition, n: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """A caption's words, (B, K, D), and the whole of it, (B, D); of none, if it is absent."""
        assert self.text is not None
        text = cond.text
        if text is None:
            text = torch.zeros(n, 1, dtype=torch.int64, device=device)
        words, whole = self.text(text)
        return words, whole

    def pictured(self, cond: Condition, keep: dict[str, Tensor], times: int) -> Tensor | float:
        """What the pictures among the conditions add to each place, (B, N, D), of t `times`."""
        one = (1, *self.box[1:])  # a box in one frame
        total: Tensor | float = 0.0
        if self.image is not None and cond.image is not None:
            rows = patchify(cond.image[:, :, None], one)  # (B, S, C*b*c)
            total = total + kept(self.image(rows), keep.get("image")).repeat(1, times, 1)
        if self.past is not None and cond.past is not None:
            rows = patchify(cond.past.flatten(1, 2)[:, :, None], one)  # (B, S, C*P*b*c)
            total = total + kept(self.past(rows), keep.get("past")).repeat(1, times, 1)
        if self.sketch is not None and cond.sketch is not None:
            rows = patchify(cond.sketch, self.box)  # (B, N, a*b*c)
            total = total + kept(self.sketch(rows), keep.get("sketch"))
        return total
