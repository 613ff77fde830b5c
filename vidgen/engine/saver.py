"""Saving while training goes on: the state is copied, then written by a thread of each rank."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import replace

from vidgen.engine import persist
from vidgen.engine.checkpoint import Say, save_checkpoint
from vidgen.engine.distributed import Ranks
from vidgen.engine.layout import Layout
from vidgen.engine.state import Tree
from vidgen.errors import VidgenError
from vidgen.storage.run_folder import RunFolder

_SWITCH_S = 5e-4  # longest that training waits for the interpreter while a save runs
_AGAIN_S = 10.0  # after a save that failed, until the next is tried


class Saver:
    """Writes checkpoints of a run. Every rank makes the same calls in the same order.

    A store that fails for a while costs a checkpoint and no training: the save is tried again soon,
    and only after `patience_s` without any checkpoint does the run end. What waiting cannot mend,
    a full disk or a refused key, ends it at once.

    Args:
        keep: newest checkpoints kept.
        patience_s: how long to train on while nothing can be saved.
        say: hears of saves that failed.
        before_commit: called on rank 0 once the shards are written: what must not be older than
            the checkpoint.

    Attributes:
        seconds, size: what the newest whole checkpoint took, with the copying, and its bytes.
    """

    def __init__(
        self,
        folder: RunFolder,
        ranks: Ranks,
        *,
        keep: int,
        patience_s: float,
        say: Say,
        before_commit: Callable[[], None],
    ) -> None:
        self._folder, self._ranks, self._keep = folder, ranks, keep
        self._beside = replace(ranks, control=ranks.saving)
        self._patience_s, self._say, self._before_commit = patience_s, say, before_commit
        self._layout: Layout | None = None
        self._thread: threading.Thread | None = None
        self._step = 0
        self.seconds, self.size = 0.0, 0
        self._error: BaseException | None = None
        self._good_at = time.monotonic()
        self._try_at: float | None = None  # a save failed and is owed

    def owed(self) -> bool:
        """Whether a save that failed should be tried again, with the state as it is by now."""
        return self._try_at is not None and time.monotonic() >= self._try_at

    def ended(self) -> bool:
        """Whether a save has ended on this rank, well or not, and waits to be settled."""
        return self._thread is not None and not self._thread.is_alive()

    def start(self, tree: Tree, step: int, *, spare: Collection[int] = ()) -> int | None:
        """Copy the state and begin to write it; waits for, and settles, a save that still runs.

        Returns what `settle` returned.
        """
        before = self.settle()
        began = time.monotonic()
        layout = self._laid_out(tree)
        layout.copy(tree)
        self._step, self._error, self._try_at = step, None, None

        def work() -> None:
            # Training asks for the interpreter at every operation; by default it would wait 5 ms
            # each time while this thread computes.
            switch_s = sys.getswitchinterval()
            sys.setswitchinterval(_SWITCH_S)
            try:
                size = save_checkpoint(
                    self._folder,
                    layout,
                    step,
                    self._beside,
                    keep=self._keep,
                    spare=spare,
                    before_commit=self._before_commit,
                )
                self.seconds, self.size = time.monotonic() - began, size
            except BaseException as error:  # raised again by `settle`, on the main thread
                self._error = error
            finally:
                sys.setswitchinterval(switch_s)

        self._thread = threading.Thread(target=work, name="checkpoint", daemon=True)
        self._thread.start()
        return before

    def settle(self) -> int | None:
        """Wait for the running save, if any, and take note of how it ended.

        Returns its step; None if there was none, or it failed and training may go on. Raises what
        made it fail otherwise.
        """
        if self._thread is None:
            return None
        self._thread.join()
        self._thread = None
        return self._judged(patience_s=self._patience_s, fix="training goes on")

    def save(self, tree: Tree, step: int, *, spare: Collection[int] = ()) -> int | None:
        """Save and wait until it is done, trying again for a while if the store fails.

        Returns what `settle` returned of a save that still ran.
        """
        before = self.start(tree, step, spare=spare)
        until = time.monotonic() + persist.TRY_FOR_S
        while True:
            assert self._thread is not None
            self._thread.join()
            self._thread = None
            left = max(0.0, until - time.monotonic())
            if self._judged(patience_s=left, fix="trying again", since=0.0) is not None:
                return before
            time.sleep(persist.PAUSE_S)
            self.start(tree, step, spare=spare)

    def close(self) -> None:
        """Let a save that runs come to its end, if that is soon."""
        if self._thread is not None:
            self._thread.join(persist.TRY_FOR_S)

    def _laid_out(self, tree: Tree) -> Layout:
        """The layout of the save before, unless the tree has changed on any rank."""
        fits = self._layout is not None and self._layout.fits(tree)
        if self._layout is None or not all(self._ranks.gather(fits)):
            self._layout = Layout(tree, self._ranks)
        return self._layout

    def _judged(self, *, patience_s: float, fix: str, since: float | None = None) -> int | None:
        """The step if it was saved, None if not and the run may go on; equal on every rank."""
        error = self._error
        if error is not None and not isinstance(error, VidgenError):
            raise error
        waited = time.monotonic() - self._good_at if since is None else since

        def judge() -> int | None:
            if error is None:
                return self._step
            if not persist.may_pass(error) or waited >= patience_s:
                raise error
            self._say(f"step {self._step} could not be saved: {error.what}; {fix}")
            return None

        saved = self._ranks.from_lead(judge)
        if saved is None:
            self._try_at = time.monotonic() + _AGAIN_S
        else:
            self._good_at = time.monotonic()
        return saved
