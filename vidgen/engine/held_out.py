"""Which clips an evaluation uses: a part of the data set that training did not see."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from vidgen.config.run import RunConfig
from vidgen.data.dataset import Dataset, frame_rate
from vidgen.data.loader import EvalBatch, eval_batches
from vidgen.metrics.score import Protocol


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """At most `limit` clips of a split, always the same ones in the same order.

    Attributes:
        selection: which clips of the split, in words.
        note: how many that leaves of the split, if not all.
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
        return min(self.limit, len(self.dataset.usable(self.split, self.config)))

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

    def with_unseen_captions(self) -> HeldOut:
        """Only the clips whose caption no training clip has; all of them if there is none."""
        table = self.dataset.table
        trained = table.filter(pc.equal(table["split"], "train"))["caption"]
        seen = pc.is_in(table["caption"], value_set=pa.array(trained.unique()))
        here = pc.equal(table["split"], self.split)
        total = pc.sum(here).as_py() or 0
        left = pc.sum(pc.and_(here, pc.invert(seen))).as_py() or 0
        if left == total:
            return dataclasses.replace(self, selection="captions not in train")
        note = (
            f"{left} of {total} clips in split '{self.split}' have a caption that is not in train"
        )
        if not left:
            return dataclasses.replace(self, note=f"{note}: scored on captions seen in training")
        kept = dataclasses.replace(self.dataset, table=table.filter(pc.invert(seen)))
        return dataclasses.replace(
            self, dataset=kept, selection="captions not in train", note=f"{note}: those are used"
        )

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
        for value in self.dataset.usable(self.split, self.config).column("sha256"):
            digest.update(value.encode())
        return f"sha256:{digest.hexdigest()[:12]}"
