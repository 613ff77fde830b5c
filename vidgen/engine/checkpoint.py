"""Checkpoints: sharded by torch.distributed.checkpoint into a Store, marked whole as the last act.

checkpoints/step_00000500/__0_0.distcp    rank 0's shards; each rank writes its own
checkpoints/step_00000500/.metadata       which tensor lies where
checkpoints/step_00000500/COMMITTED       JSON: step, world, and size and SHA-256 of every file
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Collection, Generator, Iterable
from contextlib import contextmanager, suppress
from typing import Any

from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_loader import load

from vidgen.engine.distributed import Ranks
from vidgen.engine.layout import Layout
from vidgen.engine.shards import METADATA, StoreReader, facts_of
from vidgen.engine.state import Tree
from vidgen.errors import CheckpointError, StorageError, VidgenError
from vidgen.storage.base import Store
from vidgen.storage.run_folder import COMMITTED, RunFolder, is_whole, step_name

Say = Callable[[str], None]


def save_checkpoint(
    folder: RunFolder,
    layout: Layout,
    step: int,
    ranks: Ranks,
    *,
    keep: int,
    spare: Collection[int] = (),
    before_commit: Callable[[], None] = lambda: None,
) -> int:
    """Write what `layout` has copied, commit it, then drop all but the newest `keep` checkpoints
    and those to `spare`.

    Called on every rank; `before_commit` is, on rank 0, once all shards are written. Returns the
    size in bytes.

    Raises StorageError on every rank when any rank could not write; older checkpoints are intact.
    """
    store = folder.store.sub(f"checkpoints/{step_name(step)}")

    def clear() -> None:
        _remove(folder.store, folder.checkpoint_keys().get(step, ()))

    ranks.from_lead(clear)  # what an interrupted save left here

    def write() -> dict[str, dict[str, Any]]:
        data = {span.name: layout.copied(span) for span in layout.spans}
        if ranks.lead:
            data[METADATA] = memoryview(layout.metadata)
        for name, each in data.items():
            store.write(name, each)
        return {name: facts_of(each) for name, each in data.items()}

    try:
        written = {name: facts for each in ranks.each(write) for name, facts in each.items()}
        marker = {"step": step, "world": ranks.world, "files": written}

        def commit() -> None:
            before_commit()
            store.write(COMMITTED, json.dumps(marker, indent=1).encode())

        ranks.from_lead(commit)
    except BaseException:
        if ranks.lead:
            with suppress(VidgenError):  # the first error is the one to show
                clear()
        raise
    if ranks.lead:
        with suppress(StorageError):  # the next save drops what is left here
            _drop_old(folder, step, keep, spare)
    return sum(int(facts["size"]) for facts in written.values())


def _drop_old(folder: RunFolder, step: int, keep: int, spare: Collection[int]) -> None:
    found = folder.checkpoint_keys()
    steps = sorted(each for each, keys in found.items() if is_whole(keys))
    # Later ones were found damaged, or this step would not have been done again.
    later, old = [s for s in steps if s > step], [s for s in steps if s <= step][:-keep]
    for each in later + [s for s in old if s not in spare]:
        _remove(folder.store, found[each])


def load_checkpoint(
    folder: RunFolder,
    tree: Callable[[], Tree],
    ranks: Ranks,
    *,
    say: Say,
    step: int | None = None,
) -> int | None:
    """Read the newest sound checkpoint, or that of `step`, into the tensors of `tree()`.

    Called on every rank, at any world size. A damaged checkpoint is named and the one before it is
    used. Returns its step, None when there is no checkpoint. Raises CheckpointError when there are
    checkpoints and all are damaged, or the one asked for is.
    """
    steps = ranks.from_lead(folder.checkpoint_steps) if step is None else [step]
    problem: CheckpointError | None = None
    for candidate in reversed(steps):
        if problem is not None and ranks.lead:
            say(f"{problem.what}; using the checkpoint of step {candidate} instead")
        try:
            _load(folder.store.sub(f"checkpoints/{step_name(candidate)}"), tree(), ranks)
        except CheckpointError as error:
            problem = error
            continue
        return candidate
    if problem is not None:
        raise problem
    if ranks.lead and (half := folder.half_written_steps()):
        names = ", ".join(map(step_name, half))
        say(f"no checkpoint has its commit marker, so none is read: {names}; starting at step 0")
    return None


def _load(store: Store, tree: Tree, ranks: Ranks) -> None:
    """Raises CheckpointError, on every rank alike, if any rank finds damage."""
    readers: list[StoreReader] = []
    ranks.each(lambda: readers.append(StoreReader(store)))
    with _plain_errors(store.url), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load(
            tree,
            storage_reader=readers[0],
            process_group=ranks.control,
            no_dist=ranks.control is None,
        )


def _remove(store: Store, keys: Iterable[str]) -> None:
    """Delete a checkpoint; its marker comes first, so that it is never half there."""
    for key in keys:
        store.delete(key)


@contextmanager
def _plain_errors(url: str) -> Generator[None]:
    """The cause inside DCP's exception; any but a VidgenError is damage to what is at `url`."""
    try:
        yield
    except CheckpointException as error:
        causes = [cause for cause, _ in error.failures.values()]
        for cause in causes:
            if isinstance(cause, VidgenError):
                raise cause from None
        if not causes:
            raise RuntimeError(str(error)) from error
        raise CheckpointError(
            f"checkpoint {url} does not fit this run: {causes[0]}",
            fix="Its config differs from the one it was saved with, or the files are damaged.",
        ) from None
