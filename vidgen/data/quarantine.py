"""Clips that cannot be decoded: set aside with their reason, replaced, and counted.

Which clip stands in for one is a function of the sample's seed alone: every rank, restart and
rank count replaces alike. A clip that is set aside is not tried again.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from vidgen.config.run import RunConfig
from vidgen.data.manifest import Row
from vidgen.data.order import substitute
from vidgen.data.reasons import Reason, Rejected
from vidgen.errors import DataError, NotFoundInStore, StorageError
from vidgen.storage.base import Store
from vidgen.storage.open import open_store

FOLDER = "quarantine/"  # below the run folder
_LEAST = 1  # clips that any run survives

log = logging.getLogger(__name__)


class Quarantine:
    """The clips that a rank sets aside.

    Args:
        clips: how many the split has.
        share: of them that may be set aside before the run stops.
        name: of the list: split and rank.
        folder: the run's, where the list is kept for people and for the next start.
    """

    def __init__(
        self,
        *,
        clips: int,
        share: float,
        name: str = "train_00000",
        folder: Store | None = None,
    ) -> None:
        self.clips, self.budget = clips, max(_LEAST, int(share * clips))
        self._folder, self._key = folder, f"{FOLDER}{name}.jsonl"
        self._known: set[tuple[str, float]] = set()
        self._found: dict[tuple[str, float], dict[str, Any]] = {}

    @property
    def count(self) -> int:
        """Clips set aside by this process, not counting those known before."""
        return len(self._found)

    def know(self, lines: str) -> None:
        """Take up a list of an earlier start or of a person: JSON lines of source and start_s."""
        for line in filter(None, lines.splitlines()):
            values = json.loads(line)
            self._known.add((values["source"], float(values.get("start_s") or 0.0)))

    def holds(self, row: Row) -> bool:
        place = (row.source, row.start_s)
        return place in self._known or place in self._found

    def add(self, row: Row, error: Exception) -> None:
        """Set a clip aside. Raises DataError once there are too many."""
        reason = error.reason if isinstance(error, Rejected) else Reason.CRASHED
        line = {"source": row.source, "start_s": row.start_s, "reason": reason.value}
        self._found[row.source, row.start_s] = {**line, "detail": str(error)}
        log.warning("clip set aside: %s: %s", row.name, error)
        self._write()
        if self.count > self.budget:
            raise DataError(
                f"cannot decode {self.count} of {self.clips} clips; the last one: {row.name}: "
                f"{error}",
                expected=f"at most {self.budget} (data.max_bad)",
                fix="Prepare the data set again, or raise data.max_bad.",
            )

    def _write(self) -> None:
        """The whole list, so that the next time makes up for one that failed."""
        if self._folder is None:
            return
        text = "".join(json.dumps(each) + "\n" for each in self._found.values())
        try:
            self._folder.write(self._key, text.encode())
        except StorageError as error:
            log.warning("clips set aside could not be written down: %s", error)

    def instead(self, seed: int, attempt: int) -> int:
        """The clip that is tried after `attempt` others were none."""
        if attempt > 100 + len(self._found) + len(self._known):
            raise DataError("found no clip that decodes", fix="Prepare the data set again.")
        return substitute(seed, attempt, self.clips)


def open_quarantine(
    config: RunConfig, *, clips: int, rank: int, split: str = "train"
) -> Quarantine:
    """With what the run has set aside before and what `data.skip` lists.

    Where the run folder cannot be read, the clips that it lists are tried again, and replaced by
    the same ones as before: no reason to stop a run whose store is away for a while.
    """
    data = config.data
    folder = open_store(config.run, config.storage) if config.run else None
    found = Quarantine(clips=clips, share=data.max_bad, name=f"{split}_{rank:05d}", folder=folder)
    if folder is not None:
        try:
            for stat in folder.list(FOLDER):
                found.know(folder.read(stat.key).decode())
        except StorageError as error:
            log.warning("clips set aside before are tried again: %s", error)
    if data.skip:
        where, _, name = data.skip.rpartition("/")
        try:
            found.know(open_store(where or ".", config.storage).read(name).decode())
        except NotFoundInStore:
            raise DataError(f"data.skip: {data.skip} does not exist") from None
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"data.skip: {data.skip} is not a list of clips: {error}",
                expected='lines of {"source": ..., "start_s": ...}',
            ) from None
    return found
