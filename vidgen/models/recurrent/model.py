"""The recurrent family's VideoModel: frames in one by one, the next one out each time.

B batch, C channels, P past frames, T future frames, H height, W width; D hidden channels,
h = H/patch and w = W/patch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidgen.models.base import VideoSpec
from vidgen.models.predictor import Predictor
from vidgen.models.recurrent.config import Config
from vidgen.nn.conv import ChannelNorm
from vidgen.nn.recurrent import CELLS, State
from vidgen.nn.trend import Trend


class RecurrentModel(Predictor):
    """A stack of convolutional cells that adds to the frame it saw what changes until the next."""

    def __init__(self, config: Config, spec: VideoSpec) -> None:
        super().__init__()
        self.config = config
        self.conditions = frozenset(config.conditions)
        self.video_shape = spec.shape
        width, pixels = config.width, spec.channels * config.patch**2
        self.enter = nn.Conv2d(pixels, width, 3, padding=1)
        self.cells = nn.ModuleList(
            CELLS[config.cell](width, width, config.kernel) for _ in range(config.depth)
        )
        self.trend = Trend(config.past_frames, 1) if config.trend else None
        self.dropout = nn.Dropout2d(config.dropout)
        self.leave = nn.Sequential(
            ChannelNorm(config.depth * width),
            nn.Conv2d(config.depth * width, width, 1),
            nn.SiLU(),
            nn.Conv2d(width, pixels, 3, padding=1),
        )
        # At first nothing changes: training starts from the last frame repeated.
        nn.init.zeros_(self.leave[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.leave[-1].bias)  # type: ignore[arg-type]

    def forward(
        self, past: Tensor, steps: int, truth: Tensor | None = None, use: Tensor | None = None
    ) -> Tensor:
        """The frame after each frame that is seen, (B, C, P - 1 + steps, H, W).

        Args:
            past: (B, C, P, H, W).
            steps: T, frames to go on for.
            truth: (B, C, T, H, W), seen instead of predictions where `use`, (B, T), says so.
        """
        known = past.shape[2]
        states = self._empty(past)
        frame, made = past[:, :, 0], []
        seen = [frame] * self.config.past_frames  # before the first, there were more like it
        for n in range(known - 1 + steps):
            if self.config.truncate and n and n % self.config.truncate == 0:
                states = [tuple(part.detach() for part in state) for state in states]
                frame, seen = frame.detach(), [each.detach() for each in seen]
            after, states = self._step(frame, states)
            if self.trend is not None:
                after = after + self.trend(torch.stack(seen, 2))[:, :, 0]
            made.append(after)
            frame = past[:, :, n + 1] if n + 1 < known else after
            future = n + 1 - known
            if future >= 0 and truth is not None and use is not None:
                shown = use[:, future, None, None, None]
                frame = torch.where(shown, truth[:, :, future], frame)
            seen = [*seen[1:], frame]
        return torch.stack(made, 2)

    def _step(self, frame: Tensor, states: list[State]) -> tuple[Tensor, list[State]]:
        """(B, C, H, W) to the next frame, and the cells' states after it."""
        x = F.silu(self.enter(F.pixel_unshuffle(frame, self.config.patch)))  # (B, D, h, w)
        after, outputs = [], []
        for cell, state in zip(self.cells, states, strict=True):
            state = cell(self.dropout(x), state)
            x = x + state[0]
            outputs.append(state[0])
            after.append(state)
        change = self.leave(torch.cat(outputs, 1))  # (B, C*patch*patch, h, w)
        return frame + F.pixel_shuffle(change, self.config.patch).float(), after

    def _empty(self, past: Tensor) -> list[State]:
        """States of cells that have seen nothing."""
        config, size = self.config, [side // self.config.patch for side in past.shape[-2:]]
        zero = past.new_zeros(len(past), config.width, *size)
        return [(zero,) * CELLS[config.cell].parts for _ in self.cells]

    def predict(self, past: Tensor) -> Tensor:
        frames = self.video_shape[1]
        made: Tensor = self(past, frames)
        return made[:, :, -frames:]
