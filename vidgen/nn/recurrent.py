"""Cells that remember pictures: a step takes a feature map and a state and gives both.

B batch, I input channels, D hidden channels, h and w the size of the map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidgen.nn.conv import ChannelNorm

State = tuple[Tensor, ...]  # of a cell, each (B, D, h, w)


class ConvLSTMCell(nn.Module):
    """Long short-term memory with convolutions for products (arXiv:1506.04214), gates normed."""

    parts = 2

    def __init__(self, inputs: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.gates = nn.Conv2d(inputs + hidden, 4 * hidden, kernel, padding=kernel // 2)
        self.norm = ChannelNorm(4 * hidden)
        nn.init.zeros_(self.gates.bias)  # type: ignore[arg-type]
        self.forget = nn.Parameter(torch.ones(hidden))  # remembers at first

    def forward(self, x: Tensor, state: State) -> State:
        """(B, I, h, w) and (output, memory) to both after it; the output comes first."""
        output, memory = state
        gates = self.norm(self.gates(torch.cat([x, output], 1)))
        enter, forget, leave, new = gates.chunk(4, 1)
        forget = forget + self.forget.view(-1, 1, 1)
        memory = torch.sigmoid(forget) * memory + torch.sigmoid(enter) * torch.tanh(new)
        return torch.sigmoid(leave) * torch.tanh(memory), memory


class ConvGRUCell(nn.Module):
    """Gated recurrent unit with convolutions (arXiv:1511.06432), gates normed."""

    parts = 1

    def __init__(self, inputs: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.gates = nn.Conv2d(inputs + hidden, 2 * hidden, kernel, padding=kernel // 2)
        self.new = nn.Conv2d(inputs + hidden, hidden, kernel, padding=kernel // 2)
        self.norm = ChannelNorm(2 * hidden)

    def forward(self, x: Tensor, state: State) -> State:
        """(B, I, h, w) and (output,) to the output after it."""
        (output,) = state
        reset, update = torch.sigmoid(self.norm(self.gates(torch.cat([x, output], 1)))).chunk(2, 1)
        new = torch.tanh(self.new(torch.cat([x, reset * output], 1)))
        return (update * output + (1 - update) * new,)


CELLS: dict[str, type[ConvLSTMCell] | type[ConvGRUCell]] = {
    "lstm": ConvLSTMCell,
    "gru": ConvGRUCell,
}
