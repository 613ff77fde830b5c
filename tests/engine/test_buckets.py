"""Clips of several shapes: curriculum, images among videos, and equal work for every rank."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine.conftest import MakeConfig
from engine.ranks import on_ranks
from engine.test_interrupt import FLOW
from engine.test_train import curve, weights

from vidgen.config.run import RunConfig
from vidgen.data.buckets import BucketPlan
from vidgen.data.dataset import open_dataset
from vidgen.data.loader import batches
from vidgen.engine.train import train
from vidgen.storage.run_folder import RunFolder
from vidgen.types import Batch

SMALL = {"height": 4, "width": 4}
HALF = {"height": 4}
IMAGES = {"frames": 2, "still": True}


def bucketed(make_config: MakeConfig, *buckets: dict[str, Any], **keys: Any) -> RunConfig:
    config = make_config(**keys).model_dump(mode="json")
    config["data"]["buckets"] = buckets
    config["model"] = {**FLOW, "patch": [2, 2, 2]}
    return RunConfig.model_validate(config)


def shapes(config: RunConfig, steps: int) -> list[tuple[int, ...]]:
    """(B, T, H, W) of each step's batch."""
    with closing(stream(config)) as found:
        return [(len(b), *b.video.shape[2:]) for b in islice(found, steps)]


def stream(config: RunConfig, **keys: int) -> Any:
    dataset = open_dataset(str(config.data.url))
    return batches(dataset, config, conditions=["label"], **keys)  # type: ignore[arg-type]


def test_a_curriculum_follows_the_steps(make_config: MakeConfig) -> None:
    config = bucketed(
        make_config, {**SMALL, "frames": 2, "until": 3}, {**HALF, "since": 3, "until": 5},
        {"since": 5},
    )  # fmt: skip
    found = shapes(config, 8)
    assert [each[1:] for each in found] == ([(2, 4, 4)] * 3 + [(4, 4, 8)] * 2 + [(4, 8, 8)] * 3)
    assert [each[0] for each in found] == [64] * 3 + [16] * 2 + [8] * 3
    assert {int(np.prod(each)) for each in found} == {8 * 4 * 8 * 8}  # as many tokens each step


def test_shares_decide_how_often_a_bucket_is_drawn(make_config: MakeConfig) -> None:
    config = bucketed(make_config, {}, {**SMALL, "share": 3})
    plan = BucketPlan(config)
    drawn = [plan.at(step).bucket for step in range(4000)]
    assert np.mean(drawn) == pytest.approx(0.75, abs=0.03)


def test_images_are_clips_that_stand_still(make_config: MakeConfig) -> None:
    config = bucketed(make_config, IMAGES)
    with closing(stream(config)) as found:
        batch = next(found)
    assert batch.video.shape[2] == 2
    assert torch.equal(batch.video[:, :, 0], batch.video[:, :, 1])
    assert len({float(clip.mean()) for clip in batch.video}) > 4


def test_every_clip_of_a_bucket_comes_once_an_epoch(make_config: MakeConfig) -> None:
    config = bucketed(make_config, {}, HALF)
    plan = BucketPlan(config)
    for bucket in range(2):
        places = [p for p in map(plan.at, range(300)) if p.bucket == bucket]
        assert all(b.start == a.start + a.clips for a, b in pairwise(places))


def test_a_place_depends_on_the_step_alone(make_config: MakeConfig) -> None:
    config = bucketed(make_config, {}, {**HALF, "share": 2}, {**SMALL, "since": 20})
    whole = BucketPlan(config)
    expected = [whole.at(step) for step in range(60)]
    assert [BucketPlan(config).at(step) for step in range(60)] == expected
    assert whole.at(7) == expected[7]  # backwards as well


def rows(config: RunConfig, start: int, steps: int, worlds: list[int]) -> Iterator[list[Batch]]:
    """The batches of all ranks, by world size."""
    for world in worlds:
        found = []
        for rank in range(world):
            with closing(stream(config, rank=rank, world=world, start_step=start)) as each:
                found.append(list(islice(each, steps)))
        for step in range(steps):
            yield [batches[step] for batches in found]


def test_ranks_share_a_step_evenly_and_see_the_same_clips(make_config: MakeConfig) -> None:
    config = bucketed(make_config, {}, HALF, {**SMALL, "frames": 2})
    one, two, late = (
        list(rows(config, start, 6 - start, worlds))
        for start, worlds in ((0, [1]), (0, [2]), (4, [1]))
    )
    assert len({step[0].video.shape for step in one}) > 1
    for whole, halves in zip(one, two, strict=True):
        assert len({each.video.shape for each in halves}) == 1  # equal work
        assert torch.equal(whole[0].video, torch.cat([each.video for each in halves]))
        assert torch.equal(whole[0].seed, torch.cat([each.seed for each in halves]))
    for whole, again in zip(one[4:], late, strict=True):  # resumed
        assert torch.equal(whole[0].video, again[0].video)


def test_training_in_buckets_resumes_bit_equal_and_on_two_ranks(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    buckets = ({**SMALL, "frames": 2, "until": 4}, {"since": 2}, {**IMAGES, "share": 0.5})

    def config(name: str) -> RunConfig:
        return bucketed(make_config, *buckets, run=str(tmp_path / name))

    whole, first = train(config("whole")), train(config("parts"))
    folder = RunFolder(first)
    for stat in [*folder.store.list("checkpoints/step_00000008"), *folder.store.list("model.")]:
        folder.store.delete(stat.key)
    train(folder.config(), resume=first)
    assert curve(first) == curve(whole)
    assert all(value.equal(weights(whole)[name]) for name, value in weights(first).items())
    on_ranks(2, train, config("two"))
    for a, b in zip(curve(whole), curve(str(tmp_path / "two")), strict=True):
        assert a == pytest.approx(b, rel=2e-3)


@pytest.mark.parametrize(
    ("buckets", "words"),
    [
        ([{"frames": 8}], "frames 8 is more than data.frames 4"),
        ([{"until": 3}], "step 3 has none"),
        ([{"since": 2}], "step 0 has none"),
        ([{"height": 3}], "data.height 3 must be a multiple"),
    ],
)
def test_buckets_that_cannot_be_are_refused(
    make_config: MakeConfig, buckets: list[dict[str, int]], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        bucketed(make_config, *buckets)


def test_a_family_of_one_shape_says_so(make_config: MakeConfig) -> None:
    with pytest.raises(ValueError, match="'duet' takes one shape only"):
        make_config(data={"buckets": [SMALL]})
