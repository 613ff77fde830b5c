"""The order of clips depends on (seed, epoch, global position) alone."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidgen.data.order import fixed_seeds, permute, places, window

SEEDS = st.integers(0, 2**63 - 1)


@given(n=st.integers(1, 3000), key=SEEDS)
def test_permute_is_a_permutation(n: int, key: int) -> None:
    assert sorted(permute(np.arange(n), n, key=key)) == list(range(n))


@given(clips=st.integers(1, 500), seed=SEEDS, epoch=st.integers(0, 1000))
def test_every_epoch_shows_every_clip_once(clips: int, seed: int, epoch: int) -> None:
    shown = places(clips=clips, seed=seed, start=epoch * clips, count=clips).clip
    assert sorted(shown) == list(range(clips))


@settings(max_examples=50)
@given(
    clips=st.integers(1, 300),
    seed=SEEDS,
    start=st.integers(0, 10**9),
    cuts=st.lists(st.integers(0, 64), min_size=1, max_size=4),
)
def test_cutting_the_positions_changes_nothing(
    clips: int, seed: int, start: int, cuts: list[int]
) -> None:
    """Ranks, and runs that go on, each ask for a part: together they get the same."""
    whole = places(clips=clips, seed=seed, start=start, count=64)
    edges = [0, *sorted(cuts), 64]
    parts = [
        places(clips=clips, seed=seed, start=start + a, count=b - a) for a, b in pairwise(edges)
    ]
    assert np.concatenate([part.clip for part in parts]).tolist() == whole.clip.tolist()
    assert np.concatenate([part.seed for part in parts]).tolist() == whole.seed.tolist()


def test_sample_seeds_differ_by_position_and_run() -> None:
    seeds = [places(clips=100, seed=s, start=0, count=5000).seed for s in range(4)]
    assert len(np.unique(np.concatenate(seeds))) == 4 * 5000
    assert all((part >= 0).all() for part in seeds)


def test_epochs_and_seeds_have_their_own_orders() -> None:
    orders = {
        tuple(places(clips=50, seed=seed, start=epoch * 50, count=50).clip)
        for seed in range(5)
        for epoch in range(5)
    }
    assert len(orders) == 25


@pytest.mark.parametrize("n", [3, 5, 10])
def test_every_clip_comes_equally_often_at_every_place(n: int) -> None:
    draws = 1000
    counts = np.zeros((n, n))
    for key in range(draws):
        counts[np.arange(n), permute(np.arange(n), n, key=key)] += 1
    expected = draws / n
    # Chi-squared of (n-1)^2 degrees of freedom: mean (n-1)^2, deviation sqrt(2)(n-1).
    chi = ((counts - expected) ** 2 / expected).sum()
    assert chi < (n - 1) ** 2 + 5 * 2**0.5 * (n - 1)


def test_neighbours_are_unrelated() -> None:
    order = permute(np.arange(20_000), 20_000, key=3)
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.03
    assert abs(np.corrcoef(order, np.arange(20_000))[0, 1]) < 0.03


def test_ten_million_clips_take_no_time_or_memory() -> None:
    part = places(clips=10**7, seed=0, start=10**7 - 16, count=32)  # across two epochs
    assert len(set(part.clip[:16])) == 16
    assert part.clip.max() < 10**7


@given(seed=SEEDS, available=st.integers(1, 500), data=st.data())
def test_windows_lie_inside(seed: int, available: int, data: st.DataObject) -> None:
    wanted = data.draw(st.integers(1, available))
    assert 0 <= window(seed, available, wanted) <= available - wanted


def test_windows_reach_both_ends() -> None:
    starts = [window(seed, 10, 8) for seed in range(300)]
    assert set(starts) == {0, 1, 2}
    assert min(np.bincount(starts)) > 60


def test_evaluation_seeds_follow_the_index() -> None:
    index = np.arange(100)
    assert len(set(fixed_seeds(index))) == 100
    assert (fixed_seeds(index)[40:60] == fixed_seeds(index[40:60])).all()
