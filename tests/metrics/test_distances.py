"""Distances against closed forms, other implementations and brute force."""

from __future__ import annotations

import math

import pytest
import scipy.linalg
import torch
from torch import Tensor, nn

from vidgen.errors import EvaluationError
from vidgen.metrics.distances import (
    InceptionScore,
    kernel_distance,
)
from vidgen.metrics.frechet import FrechetDistance, Gaussian, extrapolated, frechet_distance
from vidgen.metrics.neighbours import copies, manifolds, radii
from vidgen.metrics.set_scores import DistributionScorer, SetScores, temporal_sample
from vidgen.metrics.temporal import MEASURES


def random(n: int, d: int, seed: int, *, shift: float = 0.0, scale: float = 1.0) -> Tensor:
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    mix = torch.randn(d, d, generator=torch.Generator().manual_seed(99)) / math.sqrt(d)
    return x @ mix * scale + shift


def by_the_paper(a: Tensor, b: Tensor) -> float:
    """FVD as Unterthiner et al. 2018 write it, with SciPy's matrix square root."""
    x, y = a.double().numpy(), b.double().numpy()
    s, t = (torch.cov(torch.from_numpy(z).T).numpy() for z in (x, y))
    root = scipy.linalg.sqrtm(s @ t)
    mean = ((x.mean(0) - y.mean(0)) ** 2).sum()
    return float(mean + (s + t - 2 * root.real).trace())


class Flat(nn.Module):
    """Pixels as features, for torchmetrics."""

    num_features = 48

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, image: Tensor) -> Tensor:
        return image.flatten(1).float() / self.scale


class TestFrechet:
    def test_known_gaussians(self) -> None:
        """Diagonal covariances: sum of (m - n)^2 + (sqrt s - sqrt t)^2."""
        s, t = torch.tensor([1.0, 4.0, 0.25]), torch.tensor([9.0, 1.0, 0.0])
        m, n = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([3.0, 1.0, 0.0])
        one = Gaussian.of_covariance(m, s.diag())
        other = Gaussian.of_covariance(n, t.diag())
        expected = ((m - n) ** 2 + (s.sqrt() - t.sqrt()) ** 2).sum().item()
        assert frechet_distance(one, other) == pytest.approx(expected, abs=1e-6)

    def test_known_rotated_gaussians(self) -> None:
        """Commuting covariances share eigenvectors, so the closed form still holds."""
        double = torch.float64
        generator = torch.Generator().manual_seed(0)
        turn, _ = torch.linalg.qr(torch.randn(40, 40, generator=generator, dtype=double))
        s = torch.linspace(0.01, 5, 40, dtype=double)
        t = torch.linspace(3, 0.02, 40, dtype=double)
        one = Gaussian.of_covariance(torch.zeros(40), turn @ s.diag() @ turn.T)
        other = Gaussian.of_covariance(torch.ones(40), turn @ t.diag() @ turn.T)
        expected = 40 + ((s.sqrt() - t.sqrt()) ** 2).sum().item()
        assert frechet_distance(one, other) == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize(("n", "m"), [(300, 200), (20, 30), (20, 300)], ids=str)
    def test_the_paper(self, n: int, m: int) -> None:
        """Also with fewer samples than features, where SciPy's root is good to about 1e-6."""
        a, b = random(n, 50, 1), random(m, 50, 2, shift=0.3, scale=1.5)
        ours = frechet_distance(Gaussian.of(a), Gaussian.of(b))
        assert ours == pytest.approx(by_the_paper(a, b), rel=1e-5)

    def test_torchmetrics(self) -> None:
        from torchmetrics.image.fid import FrechetInceptionDistance

        generator = torch.Generator().manual_seed(3)
        real = torch.randint(0, 256, (200, 3, 4, 4), dtype=torch.uint8, generator=generator)
        fake = torch.randint(0, 200, (150, 3, 4, 4), dtype=torch.uint8, generator=generator)
        theirs = FrechetInceptionDistance(feature=Flat(255), input_img_size=(3, 4, 4))
        theirs.set_dtype(torch.float64)
        theirs.update(real, real=True)
        theirs.update(fake, real=False)
        ours = FrechetDistance(48)
        ours.update(Flat(255)(real), real=True)
        ours.update(Flat(255)(fake), real=False)
        assert ours.compute().item() == pytest.approx(theirs.compute().item(), abs=1e-4)

    @pytest.mark.parametrize("n", [40, 500])
    def test_moments_equal_features(self, n: int) -> None:
        """What a stream keeps is enough, even far from the origin."""
        a, b = random(n, 64, 4, shift=100.0), random(n, 64, 5, shift=101.0)
        metric = FrechetDistance(64)
        for part in a.split(7):
            metric.update(part, real=True)
        for part in b.split(11):
            metric.update(part, real=False)
        exact = frechet_distance(Gaussian.of(a), Gaussian.of(b))
        assert metric.compute().item() == pytest.approx(exact, rel=1e-6)

    def test_equal_sets_are_at_zero(self) -> None:
        a = random(30, 100, 6)
        assert frechet_distance(Gaussian.of(a), Gaussian.of(a)) == pytest.approx(0, abs=1e-9)

    def test_extrapolation_removes_the_bias(self) -> None:
        """Two samples of one Gaussian: the plain distance is far from 0, the other is not."""
        gaps, plain = [], []
        for seed in range(8):
            a, b = random(120, 30, 2 * seed + 10), random(120, 30, 2 * seed + 11)
            plain.append(frechet_distance(Gaussian.of(a), Gaussian.of(b)))
            gaps.append(extrapolated(a, b, seed=seed))
        assert abs(sum(gaps) / 8) < 0.15 * sum(plain) / 8

    def test_too_few(self) -> None:
        with pytest.raises(EvaluationError, match="at least 2 samples on each side, got 1"):
            Gaussian.of(torch.zeros(1, 3))

    def test_not_finite(self) -> None:
        bad = torch.zeros(4, 3)
        bad[2, 1] = torch.nan
        with pytest.raises(EvaluationError, match=r"features of video 2 .* not finite"):
            FrechetDistance(3).update(bad, real=True)


class TestKernel:
    def test_torchmetrics(self) -> None:
        """One subset of all samples is the same sum."""
        from torchmetrics.image.kid import KernelInceptionDistance

        generator = torch.Generator().manual_seed(3)
        real = torch.randint(0, 256, (60, 3, 4, 4), dtype=torch.uint8, generator=generator)
        fake = torch.randint(0, 200, (60, 3, 4, 4), dtype=torch.uint8, generator=generator)
        theirs = KernelInceptionDistance(feature=Flat(128), subsets=1, subset_size=60)
        theirs.update(real, real=True)
        theirs.update(fake, real=False)
        ours = kernel_distance(Flat(128)(real), Flat(128)(fake))
        assert ours == pytest.approx(theirs.compute()[0].item(), abs=1e-4)

    def test_unbiased(self) -> None:
        """Over many draws of one distribution the mean is zero: some are below, none is clamped."""
        values = [
            kernel_distance(random(20, 8, 2 * s), random(20, 8, 2 * s + 1)) for s in range(60)
        ]
        spread = torch.tensor(values)
        assert spread.min() < 0
        assert abs(spread.mean()) < 3 * spread.std() / math.sqrt(60)

    def test_chunks_do_not_matter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        a, b = random(50, 8, 1), random(40, 8, 2, shift=1.0)
        whole = kernel_distance(a, b)
        monkeypatch.setattr("vidgen.metrics.distances._PAIRS", 300)
        assert kernel_distance(a, b) == pytest.approx(whole, rel=1e-12)


class TestInceptionScore:
    def test_torchmetrics(self) -> None:
        from torchmetrics.image.inception import InceptionScore as Theirs

        logits = torch.randn(64, 10, generator=torch.Generator().manual_seed(0)) * 3

        class Logits(nn.Module):
            def forward(self, image: Tensor) -> Tensor:
                return logits[image[:, 0, 0, 0].long()]

        theirs = Theirs(feature=Logits(), splits=1)
        theirs.update(torch.arange(64, dtype=torch.uint8).view(64, 1, 1, 1).expand(64, 3, 2, 2))
        ours = InceptionScore(10)
        for part in logits.softmax(1).split(10):
            ours.update(part)
        expected = theirs.compute()[0].item()
        assert ours.compute().item() == pytest.approx(expected, abs=1e-4)

    def test_extremes(self) -> None:
        for probabilities, expected in ((torch.eye(10), 10), (torch.full((5, 10), 0.1), 1)):
            score = InceptionScore(10)
            score.update(probabilities)
            assert score.compute().item() == pytest.approx(expected)


class TestManifolds:
    def brute(self, real: Tensor, fake: Tensor, k: int) -> dict[str, float]:
        """Written from the definitions, one pair at a time."""

        def distance(a: Tensor, b: Tensor) -> float:
            return math.sqrt(sum((p - q) ** 2 for p, q in zip(a.tolist(), b.tolist(), strict=True)))

        def radius(points: list[Tensor], i: int) -> float:
            others = [distance(points[i], p) for j, p in enumerate(points) if j != i]
            return sorted(others)[k - 1]

        r, f = list(real), list(fake)
        rr, fr = ([radius(s, i) for i in range(len(s))] for s in (r, f))
        inside = [[distance(g, r[j]) <= rr[j] for j in range(len(r))] for g in f]
        return {
            "precision": sum(any(row) for row in inside) / len(f),
            "recall": sum(any(distance(x, f[i]) <= fr[i] for i in range(len(f))) for x in r)
            / len(r),
            "density": sum(map(sum, inside)) / (k * len(f)),
            "coverage": sum(any(row[j] for row in inside) for j in range(len(r))) / len(r),
        }

    @pytest.mark.parametrize("k", [1, 3, 5])
    def test_brute_force_exactly(self, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("vidgen.metrics.neighbours._PAIRS", 250)  # several chunks
        generator = torch.Generator().manual_seed(k)
        # A grid of integers: many ties, where < and <= differ.
        real = torch.randint(0, 4, (25, 3), generator=generator).double()
        fake = torch.randint(0, 5, (31, 3), generator=generator).double()
        assert vars(manifolds(real, fake, k=k)) == self.brute(real, fake, k)

    def test_holds_few_distances_however_many_points(self, monkeypatch: pytest.MonkeyPatch) -> None:
        held = []

        def measured(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            held.append(len(x) * len(y))
            return torch.cdist(x, y)

        monkeypatch.setattr("vidgen.metrics.neighbours._PAIRS", 1000)
        monkeypatch.setattr("vidgen.metrics.neighbours._distances", measured)
        manifolds(random(300, 5, 0), random(200, 5, 1))
        assert 900 <= max(held) <= 1000

    def test_equal_sets(self) -> None:
        a = random(40, 5, 0)
        found = manifolds(a, a, k=3)
        assert found.precision == found.recall == found.coverage == 1

    def test_fewer_modes_lower_recall_and_not_precision(self) -> None:
        centres = torch.eye(8) * 10
        real = torch.cat([c + random(20, 8, i) * 0.3 for i, c in enumerate(centres)])
        every = torch.cat([c + random(20, 8, 50 + i) * 0.3 for i, c in enumerate(centres)])
        two = torch.cat([c + random(80, 8, 90 + i) * 0.3 for i, c in enumerate(centres[:2])])
        full, dropped = manifolds(real, every), manifolds(real, two)
        assert dropped.precision > full.precision - 0.1
        assert dropped.recall < 0.4 < 0.75 < full.recall
        assert dropped.coverage < 0.4 < 0.75 < full.coverage

    def test_radii_leave_the_point_itself_out(self) -> None:
        line = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
        assert radii(line, 1).tolist() == [1, 1, 2, 4]
        assert radii(torch.zeros(5, 2), 2).tolist() == [0] * 5  # duplicates are neighbours

    def test_too_few(self) -> None:
        with pytest.raises(EvaluationError, match="need 6 clips on each side, got 5"):
            manifolds(random(5, 3, 0), random(50, 3, 1))


class TestCopies:
    def test_planted_copies_are_found(self) -> None:
        train, held_out = random(300, 16, 0), random(100, 16, 1)
        fake = torch.cat([random(90, 16, 2), train[[5, 17, 200]] + 1e-3 * random(3, 16, 3)])
        found = copies(fake, train, held_out)
        assert found.distance[90:].max() < found.threshold
        assert found.nearest[90:].tolist() == [5, 17, 200]
        assert found.share == pytest.approx(3 / 93, abs=0.06)
        assert found.expected <= 0.06

    def test_a_memorising_model_stands_out(self) -> None:
        train, held_out = random(300, 16, 0), random(100, 16, 1)
        assert copies(train[:60], train, held_out).share == 1
        assert copies(random(200, 16, 4), train, held_out).share < 0.12


class TestStreaming:
    def test_a_bounded_sample_is_the_same_in_any_order(self) -> None:
        features, index = random(500, 4, 0), torch.arange(500)
        shuffled = torch.randperm(500, generator=torch.Generator().manual_seed(1))
        results = []
        for order, size in ((index, 500), (index, 13), (shuffled, 29)):
            metric = temporal_sample(limit=50)
            for rows in order.split(size):
                metric.update(features[rows], index[rows], real=True)
                metric.update(features[rows] + 1, index[rows], real=False)
                assert sum(map(len, metric.real_features)) < 100 + size
            results.append(metric.sample("real"))
        assert len(results[0][0]) == 50
        for kept, at in results[1:]:
            assert torch.equal(kept, results[0][0])
            assert torch.equal(at, results[0][1])
        picked = results[0][1]
        assert 150 < picked.double().mean() < 350  # spread over the clips, not the first ones

    def test_both_sides_keep_the_same_clips(self) -> None:
        metric = SetScores(DistributionScorer("frame-stats"), 3, per_video=2, limit=20)
        for rows in torch.arange(40).split(7):
            frames = rows.repeat_interleave(2)[:, None].float().expand(-1, 3)
            metric.add(frames, rows, real=True)
            metric.add(frames, rows, real=False)
        real, fake = metric.sides()
        assert real.shape == (10, 2, 3)
        assert torch.equal(real, fake)

    def test_a_stream_of_10000_clips_needs_no_more_than_one_of_2000(self) -> None:
        """What is held stays bounded, and scores come from all of the clips."""
        frechet = FrechetDistance(16)
        sets = SetScores(DistributionScorer("st-stats"), 16, limit=500)

        def held() -> int:
            states = [*sets.metric_state.values(), *frechet.metric_state.values()]
            tensors = [t for s in states for t in (s if isinstance(s, list) else [s])]
            return sum(t.numel() * t.element_size() for t in tensors)

        most = {}
        for start in range(0, 10_000, 200):
            rows = torch.arange(start, start + 200)
            for real in (True, False):
                part = random(200, 16, start + real)
                frechet.update(part, real=real)
                sets.update(part, rows, real=real)
            most[start] = held()
        early = max(size for start, size in most.items() if start < 2000)
        assert max(most.values()) <= early
        assert int(frechet.real_n) == 10_000
        assert float(frechet.compute()) < 0.05
        assert len(sets.sample("real")[0]) == 500

    def test_wrong_shapes_and_too_few(self) -> None:
        metric = SetScores(DistributionScorer("st-stats"), 4)
        with pytest.raises(EvaluationError, match=r"shape \(3, 5\); expected \(3, 4\)"):
            metric.update(torch.zeros(3, 5), torch.arange(3), real=True)
        metric.update(torch.zeros(3, 4), torch.arange(3), real=True)
        with pytest.raises(EvaluationError, match="at least 2 on each side, got 0"):
            metric.compute()

    def test_what_few_videos_allow(self) -> None:
        scorer = DistributionScorer("st-stats")
        names = {
            n: set(scorer(random(n, 4, 0)[:, None], random(n, 4, 1)[:, None])) for n in (3, 8, 30)
        }
        assert names[3] == {"fd_st-stats", "kd_st-stats"}
        assert names[8] - names[3] == {f"{s}_st-stats" for s in SHARES}
        assert names[30] - names[8] == {"fd_st-stats_unbiased"}
        assert names[30] == set(scorer.about)


SHARES = ("precision", "recall", "density", "coverage")


def test_what_is_kept_stays_in_few_pieces() -> None:
    """Many small tensors among large ones that go would let memory grow."""
    scores, kept = temporal_sample(), torch.rand(300, len(MEASURES))
    for at in range(0, 300, 3):
        scores.update(kept[at : at + 3], torch.arange(at, at + 3), real=True)
        assert len(scores.real_features) <= 32
    features, index = scores.sample("real")
    assert torch.equal(features, kept[index])
    assert sorted(index.tolist()) == list(range(300))
