"""Temporal consistency on planted motion, and on real clips that were spoilt on purpose."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vidgen.errors import EvaluationError
from vidgen.metrics.flow import flow, occluded, warp
from vidgen.metrics.temporal import consistency, measure


def texture(seed: int, size: int = 64) -> np.ndarray:
    """A smooth random picture, (size, size, 3) uint8."""
    coarse = torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(seed))
    fine = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic").clamp(0, 1)
    return (fine[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)


def drifting(dx: float, *, frames: int = 8, size: int = 48, seed: int = 0) -> np.ndarray:
    """A window sliding over a picture: content moves by -dx pixels a frame."""
    picture = texture(seed, size + int(abs(dx) * frames) + 2).astype(np.float32)
    out = []
    for t in range(frames):
        by = np.zeros((size, size, 2), np.float32)
        by[..., 0] = dx * t
        out.append(warp(picture, by))
    return np.stack(out).round().astype(np.uint8)


def test_flow_finds_planted_motion() -> None:
    clip = drifting(1.5)
    grey = clip.mean(-1).round().astype(np.uint8)
    found = flow(grey[0], grey[1])[8:-8, 8:-8]
    assert np.median(found[..., 0]) == pytest.approx(-1.5, abs=0.25)
    assert np.median(found[..., 1]) == pytest.approx(0, abs=0.25)
    back = warp(clip[1].astype(np.float32), flow(grey[0], grey[1]))
    assert (
        np.abs(back - clip[0])[8:-8, 8:-8].mean()
        < 0.25 * np.abs(clip[1].astype(float) - clip[0])[8:-8, 8:-8].mean()
    )


def test_flow_of_tiny_frames() -> None:
    """Frames of 8 pixels are smaller than the method's patches."""
    clip = drifting(1.0, size=8)
    grey = clip.mean(-1).round().astype(np.uint8)
    found = flow(grey[0], grey[1])
    assert found.shape == (8, 8, 2)
    assert np.median(found[..., 0]) < -0.3


def test_what_is_covered_counts_as_occluded() -> None:
    there = np.zeros((20, 20, 2), np.float32)
    there[:, :10, 0] = 5  # the left half says it moves right; the right half says it stays
    back = np.zeros((20, 20, 2), np.float32)
    assert occluded(there, back)[:, :10].all()
    assert not occluded(there, back)[:, 10:].any()


class TestMeasure:
    def test_motion_is_in_diagonals(self) -> None:
        found = measure(drifting(1.5))
        assert found["motion"] == pytest.approx(1.5 / np.hypot(48, 48), rel=0.2)

    def test_a_still_clip_is_zero_everywhere(self) -> None:
        still = np.repeat(texture(0)[None], 6, 0)
        assert set(measure(still).values()) == {0.0}

    def test_steady_motion_warps_and_interpolates_better_than_it_differs(self) -> None:
        clip = drifting(2.0)
        apart = np.abs(np.diff(clip.astype(float), axis=0)).mean() / 255
        found = measure(clip)
        assert found["warp_error"] < 0.4 * apart
        assert found["roughness"] < 0.4 * apart

    def test_flicker_sees_brightness_and_not_a_fade(self) -> None:
        base = np.repeat(texture(0)[None], 9, 0).astype(float)
        gain = np.array([1, 0.8] * 5)[:9].reshape(-1, 1, 1, 1)
        fade = np.linspace(1, 0.6, 9).reshape(-1, 1, 1, 1)
        jumping, fading = ((base * g).astype(np.uint8) for g in (gain, fade))
        assert measure(jumping)["flicker"] > 20 * measure(fading)["flicker"]

    @pytest.mark.parametrize(
        "clip",
        [np.zeros((2, 8, 8, 3), np.uint8), np.zeros((5, 8, 8, 3), np.float32), np.zeros((5, 8, 8))],
        ids=["short", "float", "flat"],
    )
    def test_bad_clips(self, clip: np.ndarray) -> None:
        with pytest.raises(EvaluationError, match=r"expected \(T, H, W, 3\) uint8"):
            measure(clip)


def test_equal_sets_score_one() -> None:
    values = torch.rand(20, 4, generator=torch.Generator().manual_seed(0))
    found = consistency(values, values.flip(0))
    assert found["temporal_consistency"] == pytest.approx(1)
    assert found["motion_agreement"] == pytest.approx(1)
