"""Scores order clips as people would, on made-up clips and, where there are some, on real ones.

Real to real < real to blurred < real to noisy; order, freezing and flicker are seen by what looks
at time and by nothing else; a video that stands still does not win.
"""

from __future__ import annotations

import pytest
import torch
from metrics.spoilt import WAYS, Ruler, spoil
from torch import Generator, Tensor

from vidgen.metrics.encoder.worlds import make_worlds
from vidgen.metrics.features.table import build_extractor
from vidgen.metrics.temporal import consistency, measure_all


@pytest.fixture(scope="module")
def made() -> Tensor:
    """(80, 3, 16, 48, 48) uint8 clips that nothing was trained on."""
    return make_worlds(80, Generator().manual_seed(1001)).video


@pytest.fixture(scope="module", params=["made", "windows"], ids=["made-up", "real"])
def clips(request: pytest.FixtureRequest) -> Tensor:
    found: Tensor = request.getfixturevalue(request.param)
    return found


def test_st_stats_see_what_goes_wrong(clips: Tensor) -> None:
    ruler = Ruler(build_extractor("st-stats"), clips)
    found = {way: ruler.ratio(way) for way in WAYS}
    backwards = found.pop("reverse")
    assert 1 < 2.5 < found["blur"] < found["noise"], found
    assert min(found.values()) > 2.5, found
    assert backwards < 1.5, "st-stats tell the direction of time now: say so in their table"


def test_vidgen_clip_sees_it_too_and_time_that_runs_backwards(made: Tensor) -> None:
    """On clips like those it learned from."""
    ruler = Ruler(build_extractor("vidgen-clip"), made)
    found = {way: ruler.ratio(way) for way in WAYS}
    assert 1 < 1.5 < found["blur"] < found["noise"], found
    assert min(found[way] for way in ("noise", "shuffle", "freeze", "flicker")) > 2, found
    assert found["reverse"] > 1.25, found


def test_vidgen_clip_is_no_ruler_for_real_clips_yet(windows: Tensor) -> None:
    """It sees noise, lost order and freezing there, by less than st-stats do; not blur."""
    ruler = Ruler(build_extractor("vidgen-clip"), windows)
    found = {way: ruler.ratio(way) for way in ("noise", "shuffle", "freeze", "flicker")}
    assert min(found.values()) > 1.3, found


def test_order_is_nothing_to_frames_alone(clips: Tensor) -> None:
    """Shuffling hurts the distance of videos and leaves that of frames as it was."""
    frames = Ruler(build_extractor("frame-stats"), clips)
    assert frames.ratio("shuffle") == pytest.approx(1, rel=1e-4)
    assert 2 < frames.ratio("blur") < frames.ratio("noise")


def test_none_of_the_ways_to_cheat_wins_temporal_consistency(clips: Tensor) -> None:
    """Other real clips come out ahead of frozen, shuffled, noisy and flickering ones."""
    size = clips.shape[-1] // (clips.shape[-1] // 24)
    small = torch.nn.functional.adaptive_avg_pool3d(clips.float(), (16, size, size))
    small = small.round().to(torch.uint8)
    real, other = measure_all(small[::2]), small[1::2]
    scores = {}
    for way in ("clean", "freeze", "shuffle", "noise", "flicker"):
        found = measure_all(spoil(way, other))
        scores[way] = consistency(real, found)["temporal_consistency"]
        if way == "freeze":  # perfect in every single measurement, and found out all the same
            assert found.abs().max() == 0
    assert real[:, 3].mean() > 0
    clean = scores.pop("clean")
    assert clean > 0.5
    assert max(scores.values()) < 0.65 * clean, (clean, scores)
