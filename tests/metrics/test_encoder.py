"""The recipe of vidgen-clip: it runs, and its weights load into the extractor."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vidgen.metrics.encoder.damage import DAMAGES, spoil
from vidgen.metrics.encoder.train import School, train
from vidgen.metrics.encoder.worlds import EVENTS, make_worlds
from vidgen.metrics.features.vidgen_clip import VidgenClip


def test_a_short_training_gives_weights_that_load(tmp_path: Path) -> None:
    school = School(0, worlds=40, shapes=20)
    train(tmp_path / "x.safetensors", steps=13, school=school)
    extractor = VidgenClip(tmp_path / "x.safetensors", "")
    video = (next(school.undamaged(1, size=6)) * 255).to(torch.uint8)
    found = extractor(video)
    assert found.shape == (6, extractor.dim)
    assert found.isfinite().all()
    assert (tmp_path / "x.safetensors").stat().st_size < 2e6


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_shows_and_grows(name: str) -> None:
    clip = make_worlds(3, torch.Generator().manual_seed(3)).video[1].float() / 255
    gaps = []
    for strength in (0.1, 1.0):
        found = spoil(clip, name, strength, torch.Generator().manual_seed(1))
        assert found.shape == clip.shape
        assert 0 <= found.min() <= found.max() <= 1
        gaps.append((found - clip).abs().mean().item())
    assert 0 <= gaps[0] < gaps[1], gaps


def test_worlds_repeat_and_have_every_event() -> None:
    one, other = (make_worlds(24, torch.Generator().manual_seed(5), frames=8) for _ in range(2))
    assert torch.equal(one.video, other.video)
    assert set(one.event.tolist()) == set(range(len(EVENTS)))
    assert one.arrow.any()
    assert not one.arrow[one.event < 2].any()
