"""Augmentation: the same for all frames of a clip, other for every seed, the same everywhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from moving import run_config

from vidgen.config.data import AugmentConfig
from vidgen.data.augment import augment
from vidgen.data.conditions import sketch
from vidgen.data.dataset import Dataset
from vidgen.data.loader import batches, eval_batches

EVERYTHING = AugmentConfig(
    flip=0.5, flip_vertical=0.5, rotate=20, zoom=1.5, brightness=0.3, contrast=0.3, saturation=0.3,
    noise=0.05,
)  # fmt: skip
SEEDS = torch.arange(100, 112)


def clips(count: int = 12, frames: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    still = torch.rand(count, 3, 1, 24, 32, generator=generator) * 2 - 1
    return still.expand(-1, -1, frames, -1, -1).contiguous()


@pytest.mark.parametrize(
    "config",
    [
        AugmentConfig(flip=0.5), AugmentConfig(flip_vertical=0.5), AugmentConfig(rotate=30),
        AugmentConfig(zoom=2), AugmentConfig(brightness=0.5), AugmentConfig(contrast=0.5),
        AugmentConfig(saturation=0.5),
    ],
    ids=lambda config: next(iter(config.model_dump(exclude_defaults=True))),
)  # fmt: skip
def test_all_frames_of_a_clip_change_alike(config: AugmentConfig) -> None:
    video = clips()
    changed = augment(video, SEEDS, config)
    assert changed.shape == video.shape
    assert changed.min() >= -1
    assert changed.max() <= 1
    assert torch.equal(changed, changed[:, :, :1].expand_as(changed))
    different = [not torch.equal(a, b) for a, b in zip(video, changed, strict=True)]
    assert any(different)


def test_a_clip_changes_by_its_seed_alone() -> None:
    video = clips()
    whole = augment(video, SEEDS, EVERYTHING)
    for part in (slice(0, 5), slice(5, 12)):  # as two ranks would
        assert torch.allclose(augment(video[part], SEEDS[part], EVERYTHING), whole[part], atol=1e-5)
    same = augment(video[:1].expand(12, -1, -1, -1, -1), SEEDS, EVERYTHING)
    assert len({tuple(clip.flatten().tolist()) for clip in same}) == 12
    assert torch.equal(augment(video, SEEDS, EVERYTHING), whole)


def test_flips_are_exact() -> None:
    video = clips()
    assert torch.equal(augment(video, SEEDS, AugmentConfig(flip=1.0)), video.flip(4))
    assert torch.equal(augment(video, SEEDS, AugmentConfig(flip_vertical=1.0)), video.flip(3))
    assert augment(video, SEEDS, AugmentConfig(speed=2)) is video


def test_a_turned_picture_has_no_empty_corners() -> None:
    white = torch.ones(12, 3, 2, 20, 32)
    frame = -torch.ones(12, 3, 2, 24, 36)
    frame[..., 2:-2, 2:-2] = white
    turned = augment(frame, SEEDS, AugmentConfig(rotate=45, zoom=1.2))
    # What is outside would repeat the dark edge far into the picture.
    assert (turned < 0).float().mean() < 0.35
    inner = augment(torch.ones(12, 3, 2, 24, 36), SEEDS, AugmentConfig(rotate=45))
    assert torch.allclose(inner, torch.ones_like(inner))


def test_turning_keeps_shapes() -> None:
    """A disc stays a disc in a wide picture, whatever the angle."""
    y, x = torch.meshgrid(torch.arange(64) - 31.5, torch.arange(128) - 63.5, indexing="ij")
    disc = ((y**2 + x**2) < 6**2).float() * 2 - 1
    video = disc.expand(12, 3, 2, -1, -1).contiguous()
    turned = augment(video, SEEDS, AugmentConfig(rotate=45))[:, 0, 0] > 0
    whole = [each for each in turned if not (each[0].any() or each[-1].any())]
    assert len(whole) >= 8  # the others were moved over the edge
    for each in whole:
        rows, columns = each.any(1).sum(), each.any(0).sum()
        assert abs(int(rows) - int(columns)) <= 2


def test_noise_has_the_strength_asked_for() -> None:
    video = torch.zeros(12, 3, 8, 24, 32)
    noise = augment(video, SEEDS, AugmentConfig(noise=0.1))
    strengths = noise.std(dim=(1, 2, 3, 4)) / 2  # of full scale, -1 to 1
    assert 0 < strengths.min() < strengths.max() <= 0.105
    assert not torch.equal(noise[:, :, 0], noise[:, :, 1])


def test_training_batches_are_augmented_and_conditions_with_them(dataset: Dataset) -> None:
    names = ("image", "sketch", "past")
    plain = run_config(conditions=names)
    changed = run_config(conditions=names, augment={"flip": 1.0})
    with batches(dataset, plain) as a, batches(dataset, changed) as b:
        one, other = next(a), next(b)
    assert torch.equal(other.video, one.video.flip(4))
    assert torch.equal(other.cond.past, one.cond.past.flip(4))  # type: ignore[arg-type, union-attr]
    assert torch.equal(other.cond.image, other.video[:, :, 0])  # type: ignore[arg-type]
    assert torch.equal(other.cond.sketch, sketch(other.video))  # type: ignore[arg-type]
    (x,) = eval_batches(dataset, plain, split="val", limit=2, batch_size=2)
    (y,) = eval_batches(dataset, changed, split="val", limit=2, batch_size=2)
    assert torch.equal(x.batch.video, y.batch.video)


def test_ranks_augment_as_one_process_does(dataset: Dataset) -> None:
    config = run_config(augment={**EVERYTHING.model_dump(), "speed": 1.5})
    with batches(dataset, config) as stream:
        whole = next(stream).video
    parts = []
    for rank in range(2):
        with batches(dataset, config, rank=rank, world=2) as stream:
            parts.append(next(stream).video)
    assert torch.allclose(torch.cat(parts), whole, atol=1e-5)


def test_speed_and_shift(dataset: Dataset) -> None:
    still = run_config(frames=6, augment={"shift": False})
    with batches(dataset, still) as a:
        plain = torch.cat([next(a).video for _ in range(4)])
    (middle,) = eval_batches(dataset, still, split="train", limit=16, batch_size=16)
    shown = {tuple(clip.flatten().tolist()) for clip in middle.batch.video}
    assert {tuple(clip.flatten().tolist()) for clip in plain} == shown
    fast = run_config(frames=6, augment={"shift": False, "speed": 3.0})
    with batches(dataset, fast) as b:
        varied = torch.cat([next(b).video for _ in range(4)])

    def travelled(video: torch.Tensor) -> np.ndarray:
        return (video[:, :, -1] - video[:, :, 0]).abs().mean((1, 2, 3)).numpy()

    ratio = travelled(varied) / travelled(plain)
    assert ratio.min() < 0.9
    assert ratio.max() > 1.2
