"""What few clips can teach about how a video goes on.

B batch, C channels, P past frames, T future frames, H height, W width.
"""

from __future__ import annotations

from torch import Tensor, nn


class Trend(nn.Module):
    """What each future frame adds to the last one: a weighted sum of how the earlier ones differ
    from it, with the same weights at every pixel (arXiv:2205.13504). At first nothing.

    Args:
        past: P, at least 2.
        future: T.
    """

    def __init__(self, past: int, future: int) -> None:
        super().__init__()
        self.weights = nn.Linear(past - 1, future, bias=False)
        nn.init.zeros_(self.weights.weight)

    def forward(self, past: Tensor) -> Tensor:
        """(B, C, P, H, W) to (B, C, T, H, W)."""
        before = (past[:, :, :-1] - past[:, :, -1:]).movedim(2, -1)  # (B, C, H, W, P-1)
        added: Tensor = self.weights(before).movedim(-1, 2)
        return added.float()
