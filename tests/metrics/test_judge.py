"""The judge reads real files right, and says "none" where there is nothing to read."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vidgen.data.encode import encode_mp4
from vidgen.data.shapes import ATTRIBUTES, SPEEDS
from vidgen.data.synthetic import FPS, paint, scene_of
from vidgen.data.video import decode
from vidgen.metrics.judge import NONE, asked_for, judge

CLIPS = 96


def tensor(frames: np.ndarray) -> Tensor:
    """(B, T, H, W, 3) uint8 to (B, 3, T, H, W) in [-1, 1]."""
    return torch.from_numpy(frames).permute(0, 4, 1, 2, 3).float() / 127.5 - 1


@pytest.fixture(scope="module")
def clips() -> tuple[Tensor, list[dict[str, str]]]:
    """Clips that went through an H.264 file, and what they show."""
    scenes = [scene_of(i, seed=0) for i in range(CLIPS)]
    painted = [paint(s, rng=np.random.default_rng(i)) for i, s in enumerate(scenes)]
    decoded = np.stack([decode(encode_mp4(video, FPS), fps=FPS) for video in painted])
    return tensor(decoded), [scene.attributes() for scene in scenes]


def right(video: Tensor, shown: list[dict[str, str]]) -> dict[str, float]:
    seen = judge(video)
    return {
        name: float(np.mean([a[name] == b[name] for a, b in zip(seen, shown, strict=True)]))
        for name in ATTRIBUTES
    }


def small(video: Tensor) -> Tensor:
    return F.avg_pool3d(video, (1, 2, 2))


@pytest.mark.parametrize(
    "change",
    [
        lambda video: video,
        small,
        lambda video: small(video)[:, :, ::2],
        lambda video: F.interpolate(video, (16, 48, 96)),
        lambda video: F.avg_pool3d(small(video), (1, 3, 3), 1, (0, 1, 1), count_include_pad=False),
    ],
    ids=["64x64", "32x32", "8 frames", "another aspect", "blurred"],
)
def test_reads_what_is_there(change, clips) -> None:  # type: ignore[no-untyped-def]
    video, shown = clips
    wide = change(video).shape[-1] > change(video).shape[-2]
    for name, share in right(change(video), shown).items():
        if not (wide and name in ("shape", "speed")):  # stretched, a shape is another one
            assert share >= 0.99, f"{name}: {share}"


def test_sees_through_some_noise(clips) -> None:  # type: ignore[no-untyped-def]
    video, shown = clips
    noisy = small(video) + 0.1 * torch.randn(CLIPS, 3, 16, 32, 32, generator=torch.Generator())
    assert min(right(noisy, shown).values()) >= 0.9


def test_a_still_shape_has_no_direction(clips) -> None:  # type: ignore[no-untyped-def]
    video, shown = clips
    still = video[:, :, :1].expand_as(video)
    for seen, asked in zip(judge(still), shown, strict=True):
        assert seen["direction"] == seen["speed"] == NONE
        assert seen["colour"] == asked["colour"]


def test_a_reversed_video_moves_the_other_way(clips) -> None:  # type: ignore[no-untyped-def]
    video, shown = clips
    other = {"left": "right", "right": "left", "up": "down", "down": "up"}
    for seen, asked in zip(judge(video.flip(2)), shown, strict=True):
        assert seen["direction"] == other[asked["direction"]]


@pytest.mark.parametrize("scale", [0.05, 0.3, 1.0, 5.0])
def test_noise_is_nothing(scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    for answer in judge(scale * torch.randn(16, 3, 16, 32, 32, generator=generator)):
        assert {answer[name] for name in ATTRIBUTES if name != "background"} == {NONE}


def test_empty_and_torn_pictures_are_nothing() -> None:
    empty = torch.full((1, 3, 16, 32, 32), -0.9)
    frames = torch.zeros(1, 3, 16, 32, 32) + torch.linspace(-1, 1, 16)[:, None, None]
    blinking = empty.clone()
    blinking[:, 0, ::2, 10:20, 10:20] = 1.0  # there in half of the frames
    scattered = empty.clone()
    scattered[:, :, :, ::6, ::6] = 1.0
    halves = empty.clone()
    halves[..., 16:] = 1.0
    for video in (empty, frames, blinking, scattered, halves):
        answer = judge(video)[0]
        assert {answer[name] for name in ATTRIBUTES if name != "background"} == {NONE}


def test_answers_do_not_depend_on_company(clips) -> None:  # type: ignore[no-untyped-def]
    video = small(clips[0])[:8]
    assert judge(video) == [judge(video[i : i + 1])[0] for i in range(8)]


def test_asks_for_what_captions_of_this_world_say() -> None:
    asked = asked_for("a red circle moving left slowly on a black background")
    assert asked is not None
    assert tuple(asked) == ATTRIBUTES
    assert asked["speed"] == "slowly" in SPEEDS
    assert asked_for("a dog runs") is None
