"""Learning rate over steps: a pure function, so that nothing of it needs saving."""

from __future__ import annotations

import math

from vidgen.config.run import ScheduleConfig


def lr_ratio(schedule: ScheduleConfig, step: int, steps: int) -> float:
    """Learning rate of step `step` (from 0) of `steps`, over the peak.

    Linear warm-up from 1/warmup to 1, then the named shape down to `final_ratio` at the last step.
    """
    warmup = min(schedule.warmup_steps, steps)
    if step < warmup:
        return (step + 1) / warmup
    # 0 at the end of the warm-up, 1 at the last step.
    along = (step - warmup + 1) / max(1, steps - warmup)
    if schedule.kind == "constant":
        return 1.0
    if schedule.kind == "cosine":
        fall = (1 - math.cos(math.pi * along)) / 2
    elif schedule.kind == "linear":
        fall = along
    else:  # wsd: warm-up, stable, decay (MiniCPM, arXiv:2404.06395)
        decay = max(1, round(schedule.decay_ratio * steps))
        fall = max(0.0, (step + 1 - (steps - decay)) / decay) if schedule.decay_ratio else 0.0
    return 1 - (1 - schedule.final_ratio) * min(1.0, fall)
