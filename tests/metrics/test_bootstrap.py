"""Intervals cover what they should."""

from __future__ import annotations

import math

import pytest
import torch

from vidgen.errors import EvaluationError
from vidgen.metrics.bootstrap import half_samples, paired_means
from vidgen.metrics.frechet import Gaussian, frechet_distance


def test_pairing_finds_what_separate_intervals_miss() -> None:
    """Clips differ by far more than the two runs do."""
    generator = torch.Generator().manual_seed(0)
    hard = 10 * torch.randn(60, generator=generator)
    mine = hard + 0.5 + 0.5 * torch.randn(60, generator=generator)
    theirs = hard + 0.5 * torch.randn(60, generator=generator)
    found = paired_means(mine, theirs)
    assert found.clear
    assert found.low < 0.5 < found.high
    assert found.value == pytest.approx((mine - theirs).mean().item(), abs=1e-6)
    assert not paired_means(mine, mine.flip(0)).clear


def test_the_mean_is_covered_about_as_often_as_promised() -> None:
    generator = torch.Generator().manual_seed(1)
    covered = 0
    for seed in range(200):
        mine = torch.randn(40, generator=generator) + 0.3
        found = paired_means(mine, torch.zeros(40), rounds=400, seed=seed)
        covered += found.low <= 0.3 <= found.high
    assert 180 <= covered <= 198


def test_half_samples_have_the_spread_of_the_mean() -> None:
    """For a mean the answer is known: 1.96 s / sqrt n."""
    values = torch.randn(100, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = half_samples(lambda rows: {"m": float(values[rows].mean())}, 100, rounds=2000)["m"]
    assert found.value == pytest.approx(values.mean().item())
    width = 2 * 1.96 * values.std().item() / math.sqrt(100)
    assert found.high - found.low == pytest.approx(width, rel=0.1)


def test_half_samples_of_a_distance_hold_its_value() -> None:
    """The bias of having half as many clips does not push the interval away from the value."""
    generator = torch.Generator().manual_seed(3)
    a, b = (torch.randn(80, 20, generator=generator) for _ in range(2))
    found = half_samples(
        lambda rows: {"d": frechet_distance(Gaussian.of(a[rows]), Gaussian.of(b[rows]))}, 80
    )["d"]
    assert found.low < found.value < found.high
    assert found.high - found.low < found.value


def test_what_half_of_the_clips_do_not_allow_has_no_interval() -> None:
    def statistics(rows: torch.Tensor) -> dict[str, float]:
        return {"always": 1.0, **({"many": 2.0} if len(rows) > 6 else {})}

    assert set(half_samples(statistics, 10, rounds=5)) == {"always"}


def test_bad_input() -> None:
    with pytest.raises(EvaluationError, match="needs at least 4 clips, got 3"):
        paired_means(torch.zeros(3), torch.zeros(3))
    with pytest.raises(EvaluationError, match="one value per clip and run"):
        paired_means(torch.zeros(5), torch.zeros(6))
