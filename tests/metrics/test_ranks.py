"""Two ranks score what one rank scores, also when one of them saw nothing of a side."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed

from vidgen.metrics.agreement import Agreement
from vidgen.metrics.distances import InceptionScore
from vidgen.metrics.frames import VideoPSNR, VideoSSIM
from vidgen.metrics.frechet import FrechetDistance
from vidgen.metrics.set_scores import DistributionScorer, SetScores, temporal_sample

N, D = 64, 12


def planted() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(N, D, generator=generator), torch.randn(N, D, generator=generator) + 0.4


def pictures(features: Tensor) -> Tensor:
    """(N, D) numbers as (N, 1, 1, 12, 12) videos in [-1, 1]."""
    return features.clamp(-1, 1)[:, None, None, None].expand(-1, 1, 1, D, D)


def scores(rows: Tensor, fake_rows: Tensor) -> dict[str, float]:
    """All metrics on these rows of the planted features."""
    real, fake = planted()
    frechet, classes = FrechetDistance(D), InceptionScore(D)
    sets = SetScores(DistributionScorer("st-stats"), D // 2, per_video=2, limit=80)
    temporal = temporal_sample()
    psnr, ssim, agreement = VideoPSNR(), VideoSSIM(), Agreement(("colour",))
    for at in rows.split(5):
        frechet.update(real[at], real=True)
        sets.update(real[at], at, real=True)
        temporal.update(real[at, :4].abs(), at, real=True)
    for at in fake_rows.split(7):
        frechet.update(fake[at], real=False)
        sets.update(fake[at], at, real=False)
        temporal.update(fake[at, :4].abs(), at, real=False)
        classes.update(fake[at].softmax(1))
        for video in (psnr, ssim):
            if len(at):
                video.update(pictures(fake[at]), pictures(real[at]))
        seen = [{"colour": "red" if x > 0 else "blue"} for x in fake[at, 0].tolist()]
        agreement.update([{"colour": "red"}] * len(at), seen)
    found = {"frechet": frechet.compute(), "is": classes.compute()}
    found |= {"psnr": psnr.compute(), "ssim": ssim.compute(), "right": agreement.compute()[0]}
    found |= sets.compute() | temporal.compute()
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
    half, other, whole = (SetScores(DistributionScorer("st-stats"), D) for _ in range(3))
    for metric, rows in ((half, slice(0, 30)), (other, slice(30, N)), (whole, slice(0, N))):
        at = torch.arange(N)[rows]
        metric.update(real[rows], at, real=True)
        metric.update(fake[rows], at, real=False)
    half.merge_state(other)
    merged = {name: float(value) for name, value in half.compute().items()}
    assert merged == pytest.approx({n: float(v) for n, v in whole.compute().items()}, rel=1e-9)
