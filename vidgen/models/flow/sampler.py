"""From noise to video along the learned flow: the times to stop at, and two ways to step.

B batch, C channels, T frames, H height, W width. t runs from 0, noise, to 1, video.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

# (video (B, C, T, H, W), t) -> its velocity, (B, C, T, H, W)
Velocity = Callable[[Tensor, float], Tensor]


def shifted(t: Tensor, shift: float) -> Tensor:
    """Move times towards the noise: 1/2 becomes 1/(1 + shift) (arXiv:2403.03206, section 5.3.2).

    A clip of many pixels that agree with each other shows through much noise, so what it shows is
    decided early; that is where training and sampling should spend their time.
    """
    return t / (t + shift * (1 - t))


def times(steps: int, shift: float) -> list[float]:
    """The steps + 1 times from 0 to 1."""
    found: list[float] = shifted(
        torch.linspace(0, 1, steps + 1, dtype=torch.float64), shift
    ).tolist()
    return found


def euler(velocity: Velocity, video: Tensor, stops: list[float]) -> Tensor:
    """One call of `velocity` a step. It is never called at t = 1."""
    for now, then in pairwise(stops):
        video = video + (then - now) * velocity(video, now)
    return video


def heun(velocity: Velocity, video: Tensor, stops: list[float]) -> Tensor:
    """The mean of the velocities at both ends of a step; the last step, to t = 1, is Euler's."""
    for now, then in pairwise(stops):
        first = velocity(video, now)
        step = (then - now) * first
        if then < 1:
            step = (then - now) * (first + velocity(video + step, then)) / 2
        video = video + step
    return video


SAMPLERS: dict[str, Callable[[Velocity, Tensor, list[float]], Tensor]] = {
    "euler": euler,
    "heun": heun,
}
