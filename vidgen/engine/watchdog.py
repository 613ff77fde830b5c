"""A run that no longer moves: every rank writes down where it stands, and the attempt fails."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable

from vidgen.engine.distributed import Ranks
from vidgen.errors import StorageError
from vidgen.storage.run_folder import RunFolder, step_name

EXIT_CODE = 1
_LOOKS = 20  # per limit
_GRACE_S = 30.0  # for writing the stacks; then the process ends without


class Watchdog:
    """Ends this process when the loop has not reported for `limit_s` seconds.

    A rank that hangs makes the others wait for it in the next sum of gradients, so all of them end,
    each leaving stacks/step_XXXXXXXX_rank_R.txt in the run folder. On Ray that is a failed attempt
    and the run goes on from its last checkpoint. The main thread may be stuck where no exception
    reaches it, so the process just ends.

    Args:
        limit_s: 0 never ends anything.
        say: hears what happened.
        leave: ends the process.
    """

    def __init__(
        self,
        folder: RunFolder,
        ranks: Ranks,
        *,
        limit_s: float,
        say: Callable[[str], None],
        leave: Callable[[int], object] = os._exit,
    ) -> None:
        self._folder, self._rank, self._limit_s = folder, ranks.rank, limit_s
        self._say, self._leave = say, leave
        self._where, self._step, self._at = "starting", 0, time.monotonic()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def beat(self, where: str, step: int) -> None:
        """The loop is alive and begins `where` of a step."""
        self._where, self._step, self._at = where, step, time.monotonic()

    def __enter__(self) -> Watchdog:
        if self._limit_s:
            self._at = time.monotonic()
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Watch no longer."""
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.wait(self._limit_s / _LOOKS):
            if time.monotonic() - self._at > self._limit_s:
                self._bite()
                return

    def _bite(self) -> None:
        # Python may not come to run again, for one if the store hangs too: this needs none.
        faulthandler.dump_traceback_later(_GRACE_S, exit=True)
        name = f"stacks/{step_name(self._step)}_rank_{self._rank}.txt"
        text = (
            f"rank {self._rank} hangs in {self._where} of step {self._step}: "
            f"nothing moved for {self._limit_s:g} s"
        )
        try:
            self._folder.store.write(name, f"{text}\n\n{_stacks()}".encode())
            self._say(f"{text}; stacks of all threads are in {self._folder.url}/{name}")
        except StorageError as error:
            self._say(f"{text}; its stacks could not be saved: {error.what}\n{_stacks()}")
        print(f"error: {text}", file=sys.stderr, flush=True)
        faulthandler.cancel_dump_traceback_later()
        self._leave(EXIT_CODE)


def _stacks() -> str:
    """Where every thread of this process stands, the main one first."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    order = sorted(
        sys._current_frames().items(), key=lambda item: names.get(item[0]) != "MainThread"
    )
    return "\n".join(
        f"thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in order
    )
