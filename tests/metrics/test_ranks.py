"""Two ranks score what one rank scores, also when one of them saw nothing of a side."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed

from vidgen.metrics.distances import InceptionScore, KernelDistance
from vidgen.metrics.frechet import FrechetDistance
from vidgen.metrics.neighbours import Manifolds
from vidgen.metrics.temporal import TemporalConsistency

N, D = 64, 12


def planted() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(N, D, generator=generator), torch.randn(N, D, generator=generator) + 0.4


def scores(rows: Tensor, fake_rows: Tensor) -> dict[str, float]:
    """All metrics on these rows of the planted features."""
    real, fake = planted()
    frechet, kernel, share = FrechetDistance(D), KernelDistance(D), Manifolds(D, limit=40)
    classes, temporal = InceptionScore(D), TemporalConsistency()
    for at in rows.split(5):
        frechet.update(real[at], real=True)
        kernel.update(real[at], at, real=True)
        share.update(real[at], at, real=True)
        temporal.update(real[at, :4].abs(), at, real=True)
    for at in fake_rows.split(7):
        frechet.update(fake[at], real=False)
        kernel.update(fake[at], at, real=False)
        share.update(fake[at], at, real=False)
        temporal.update(fake[at, :4].abs(), at, real=False)
        classes.update(fake[at].softmax(1))
    found = {"frechet": frechet.compute(), "kernel": kernel.compute(), "is": classes.compute()}
    found |= share.compute() | temporal.compute()
    return {name: float(value) for name, value in found.items()}


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2
    )
    everyone = torch.arange(N)
    mine = everyone[rank::2]
    even = scores(mine, mine)
    # Rank 1 has all generated clips and no real one.
    lopsided = scores(everyone if rank == 0 else everyone[:0], everyone if rank else everyone[:0])
    torch.save((even, lopsided), f"{folder}/rank{rank}.pt")
    distributed.destroy_process_group()


def test_two_ranks_equal_one(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("spawn")
    ranks = [fork.Process(target=work, args=(rank, str(tmp_path))) for rank in range(2)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(120)
        assert rank.exitcode == 0
    expected = scores(torch.arange(N), torch.arange(N))
    for rank in range(2):
        for found in torch.load(tmp_path / f"rank{rank}.pt"):
            assert found == pytest.approx(expected, rel=1e-6)


def test_merged_states_equal_one() -> None:
    real, fake = planted()
    half, other, whole = (KernelDistance(D) for _ in range(3))
    for metric, rows in ((half, slice(0, 30)), (other, slice(30, N)), (whole, slice(0, N))):
        at = torch.arange(N)[rows]
        metric.update(real[rows], at, real=True)
        metric.update(fake[rows], at, real=False)
    half.merge_state(other)
    assert float(half.compute()) == pytest.approx(float(whole.compute()), rel=1e-9)
