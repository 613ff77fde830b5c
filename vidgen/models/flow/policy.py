"""The flow as a chain of random decisions: the same videos by a stochastic equation, whose steps
are normal with known means (arXiv:2505.05470). The last step decides nothing: no noise stays.

Legend: B videos, C channels, T frames, H height, W width, S decisions. t runs from 0, noise, to 1.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from vidgen.models.flow.sampler import times
from vidgen.models.learnable import Path
from vidgen.types import Condition

if TYPE_CHECKING:
    from vidgen.models.flow.model import FlowModel


def rollout(
    model: FlowModel,
    cond: Condition,
    n: int,
    *,
    guidance: float,
    noise: float,
    generator: Generator,
) -> Path:
    """States are (n, S + 1, *model.shape), the first one noise."""
    model.check(cond)
    cond = cond.to(model.device)
    states = [model.noise(n, *model.shape, generator=generator)]
    stops = times(model.config.sample_steps, model.config.shift)
    *steps, last = pairwise(stops)
    for now, then in steps:
        mean, spread = _step(model, states[-1], now, then, cond, guidance, noise)
        states.append(mean + spread * model.noise(*mean.shape, generator=generator))
    seen = model.guided(states[-1], last[0], cond, guidance)
    return Path(video=model.shown(seen), states=torch.stack(states, 1), decisions=len(steps))


def log_probs(
    model: FlowModel, path: Path, cond: Condition, chosen: Tensor, *, guidance: float, noise: float
) -> Tensor:
    """(B, K) means over the C T H W numbers of a decision."""
    cond = cond.to(model.device)
    stops = times(model.config.sample_steps, model.config.shift)
    found = []
    for k in chosen.tolist():
        state, then = path.states[:, k], path.states[:, k + 1]
        mean, spread = _step(model, state, stops[k], stops[k + 1], cond, guidance, noise)
        apart = ((then - mean) / spread).square().flatten(1).mean(1)
        found.append(-apart / 2 - math.log(spread) - math.log(2 * math.pi) / 2)
    return torch.stack(found, 1)


def _step(
    model: FlowModel, video: Tensor, now: float, then: float, cond: Condition, guidance: float,
    noise: float,
) -> tuple[Tensor, float]:  # fmt: skip
    """Mean, and standard deviation, of the state at `then`."""
    left, step = 1 - now, then - now
    # At t = 0 the share of signal would divide by zero: as at the next stop.
    rate = noise**2 * left / (now or then)
    velocity = (model.guided(video, now, cond, guidance) - video) / left
    drift = velocity - rate / (2 * left) * (video - now * velocity)
    return video + step * drift, math.sqrt(rate * step)
