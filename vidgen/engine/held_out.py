"""Which clips an evaluation uses: a part of the data set that training did not see."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from vidgen.config.run import RunConfig
from vidgen.data.dataset import Dataset, frame_rate
from vidgen.data.loader import EvalBatch, eval_batches
from vidgen.metrics.score import Protocol


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """At most `limit` clips of a split, always the same ones in the same order.

    Attributes:
        selection: which clips of the split, in words.
        note: how many clips of the split that selects.
    """

    dataset: Dataset
    config: RunConfig
    limit: int
    selection: str = "all"
    note: str = ""

    @property
    def split(self) -> str:
        return self.config.evaluate.split

    def __len__(self) -> int:
        return min(self.limit, len(self._rows()))

    def batches(self, conditions: frozenset[str]) -> Iterator[EvalBatch]:
        """Raises DataError if no clip of the split is long enough."""
        return eval_batches(
            self.dataset,
            self.config,
            split=self.split,
            limit=self.limit,
            batch_size=self.config.sampling.batch_size,
            conditions=sorted(conditions),
        )

    def captions(self) -> list[str]:
        """Of all clips of the split that are long enough."""
        found: list[str] = self._rows()["caption"].to_pylist()
        return found

    def with_unseen_captions(self, *, one_each: bool) -> HeldOut:
        """Only the clips whose caption no training clip has; all of them if there is none.

        With `one_each`, only the first clip of each caption, so that every clip asks a new thing.
        """
        captions = self.captions()
        met = set(self.dataset.split("train").table["caption"].to_pylist())
        unseen = [caption not in met for caption in captions]
        note = (
            f"{sum(unseen)} of {len(unseen)} usable clips in split '{self.split}' have a caption "
            "that is not in train"
        )
        if not any(unseen):
            return dataclasses.replace(self, note=f"{note}: scored on captions seen in training")
        keep, selection = unseen, "captions not in train"
        if one_each:
            selection = "one clip per caption not in train"
            keep = []
            for caption in captions:
                keep.append(caption not in met)
                met.add(caption)
            note += f", {sum(keep)} different ones"
        chosen = self.dataset.with_rows(self._rows().filter(pa.array(keep)))
        return dataclasses.replace(self, dataset=chosen, selection=selection, note=note)

    def _rows(self) -> pa.Table:
        return self.dataset.usable(self.split, self.config).table

    def protocol(self, conditions: frozenset[str]) -> Protocol:
        """How scores on these clips are measured, but for what looks at the pixels."""
        data = self.config.data
        return Protocol(
            n=len(self),
            frames=data.frames,
            height=data.height,
            width=data.width,
            fps=frame_rate(self.dataset.summary, self.config),
            resize="bicubic, middle crop",
            data=self._digest(),
            split=self.split,
            selection=self.selection,
            conditions=tuple(sorted(conditions)),
        )

    def _digest(self) -> str:
        """Identity of the clips: equal only for equal files in equal order."""
        digest = hashlib.sha256()
        for value in self._rows()["sha256"].to_pylist():
            digest.update(value.encode())
        return f"sha256:{digest.hexdigest()[:12]}"
