"""Differences between videos, and the two sides of an adversarial loss, one number per sample.

B batch, C channels, T frames, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

ERRORS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "mse": lambda difference, _: difference.square(),
    "l1": lambda difference, _: difference.abs(),
    "huber": lambda difference, delta: F.huber_loss(
        difference, torch.zeros_like(difference), reduction="none", delta=delta
    ),
}


def pixel_error(kind: str, video: Tensor, truth: Tensor, delta: float = 0.1) -> Tensor:
    """Mean error of each sample, (B,), in fp32; `kind` is a row of ERRORS."""
    return ERRORS[kind](video.float() - truth.float(), delta).flatten(1).mean(1)


def critic_loss(kind: str, real: Tensor, made: Tensor) -> Tensor:
    """What the critic minimises, (B,), given its marks (B, ...) of real and made videos.

    relativistic: the real one shall be marked higher than the made one beside it
    (arXiv:1807.00734, 2501.05441); hinge: above 1 and below -1 (arXiv:1705.02894).
    """
    real, made = real.float().flatten(1), made.float().flatten(1)
    if kind == "relativistic":
        return F.softplus(made - real).mean(1)
    return F.relu(1 - real).mean(1) + F.relu(1 + made).mean(1)


def fooling_loss(kind: str, real: Tensor, made: Tensor) -> Tensor:
    """What the maker of videos minimises, (B,); args as in `critic_loss`."""
    real, made = real.float().flatten(1), made.float().flatten(1)
    if kind == "relativistic":
        return F.softplus(real - made).mean(1)
    return -made.mean(1)


def gradient_penalty(critic: Callable[[Tensor], Tensor], video: Tensor) -> Tensor:
    """Squared norm of the gradient of each sample's mark by its pixels, (B,), in fp32.

    R1 at real videos, R2 at made ones (arXiv:1801.04406). Half precision would lose it.
    """
    with torch.autocast(video.device.type, enabled=False), torch.enable_grad():
        video = video.detach().float().requires_grad_()
        # Not the leaf itself: what counts operations hangs hooks on a module's arguments.
        marks = critic(video.view_as(video)).flatten(1).mean(1).sum()
        (slope,) = torch.autograd.grad(marks, video, create_graph=True)
        return slope.square().flatten(1).sum(1)
