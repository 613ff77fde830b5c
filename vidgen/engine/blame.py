"""Which clips a step was made of: what to look at when its loss is no number."""

from __future__ import annotations

from vidgen.config.run import RunConfig
from vidgen.data.buckets import BucketPlan
from vidgen.data.dataset import Dataset
from vidgen.data.order import places

_NAMED = 4


def clips_of(dataset: Dataset, config: RunConfig, step: int) -> str:
    """The batch of step number `step` (from 1) in words: its first clips, and how many more.

    It follows from the seed and the step alone, so nothing has to be remembered.
    """
    plan = BucketPlan(config)
    at = plan.at(step - 1)
    split = dataset.usable("train", plan.buckets[at.bucket].config)
    seed = config.seed + (at.bucket << 40)
    here = places(clips=len(split), seed=seed, start=at.start, count=at.clips)
    names = [split[int(index)].name for index in here.clip[:_NAMED]]
    more = at.clips - len(names)
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")
