"""SSIM and PSNR agree with scikit-image, and refuse what cannot be scored."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from vidgen.errors import EvaluationError
from vidgen.metrics.frames import VideoMetric, VideoPSNR, VideoSSIM


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth videos and noisy copies, (3, 3, 4, 24, 40) in [-1, 1]."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.nn.functional.interpolate(
        torch.rand(3, 3, 4, 6, 10, generator=generator), size=(4, 24, 40), mode="trilinear"
    )
    noisy = truth + 0.1 * torch.randn(truth.shape, generator=generator)
    return (noisy * 2 - 1).clamp(-1, 1), truth * 2 - 1


def frames(video: torch.Tensor) -> list[list[np.ndarray]]:
    """Per video, its frames as (H, W, C) arrays."""
    return [list(v) for v in video.permute(0, 2, 3, 4, 1).double().numpy()]


def test_ssim_agrees_with_scikit_image(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    metric = VideoSSIM()
    metric.update(*pair)
    expected = [
        np.mean([
            structural_similarity(
                one, other, data_range=2.0, channel_axis=2,
                gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
            )
            for one, other in zip(video, truth, strict=True)
        ])
        for video, truth in zip(*map(frames, pair), strict=True)
    ]  # fmt: skip
    np.testing.assert_allclose(metric.all_values().numpy(), expected, atol=1e-5)
    assert metric.compute().item() == pytest.approx(np.mean(expected), abs=1e-5)


def test_psnr_agrees_with_scikit_image(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    metric = VideoPSNR()
    metric.update(*pair)
    expected = [
        np.mean([
            peak_signal_noise_ratio(other, one, data_range=2.0)
            for one, other in zip(video, truth, strict=True)
        ])
        for video, truth in zip(*map(frames, pair), strict=True)
    ]  # fmt: skip
    np.testing.assert_allclose(metric.all_values().numpy(), expected, atol=1e-4)


def test_exact_copies_are_finite(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    for metric, best in ((VideoPSNR(), 100.0), (VideoSSIM(), 1.0)):
        metric.update(pair[1], pair[1])
        assert metric.compute().item() == pytest.approx(best)


@pytest.mark.parametrize("kind", [VideoPSNR, VideoSSIM])
def test_batches_do_not_matter(
    kind: type[VideoMetric], pair: tuple[torch.Tensor, torch.Tensor]
) -> None:
    whole, parts = kind(), kind()
    whole.update(*pair)
    for row in range(len(pair[0])):
        parts.update(pair[0][row : row + 1], pair[1][row : row + 1])
    torch.testing.assert_close(whole.compute(), parts.compute())


@pytest.mark.parametrize("kind", [VideoPSNR, VideoSSIM])
def test_bad_input_is_refused(kind: type[VideoMetric]) -> None:
    good = torch.zeros(1, 3, 2, 16, 16)
    with pytest.raises(EvaluationError, match="one size"):
        kind().update(good, good[:, :, :1])
    with pytest.raises(EvaluationError, match="NaN"):
        kind().update(good / 0, good)
    with pytest.raises(EvaluationError, match="NaN"):
        kind().update(good, torch.full_like(good, float("inf")))


def test_ssim_says_when_frames_are_too_small() -> None:
    small = torch.zeros(1, 3, 2, 10, 16)
    with pytest.raises(EvaluationError, match="10x16"):
        VideoSSIM().update(small, small)
