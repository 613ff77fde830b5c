"""Writing to a store that may be away for a while."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from vidgen.errors import AccessDenied, NotFoundInStore, StorageError, StorageFull

TRY_FOR_S = 90.0  # how long what must be written is tried again
PAUSE_S = 2.0  # between tries
_LASTING = (StorageFull, AccessDenied, NotFoundInStore)


def may_pass(error: BaseException) -> bool:
    """Whether waiting may mend it: not a full disk or a refused key."""
    return isinstance(error, StorageError) and not isinstance(error, _LASTING)


def persistently(act: Callable[[], None], *, for_s: float = TRY_FOR_S) -> None:
    """Do it, again and again while the store fails; raises its error in the end."""
    until = time.monotonic() + for_s
    while True:
        try:
            return act()
        except StorageError as error:
            if not may_pass(error) or time.monotonic() >= until:
                raise
        time.sleep(PAUSE_S)


class Errands:
    """Does one thing after another in a thread, so that training need not wait.

    For what a run can do without: an error is told and no more.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._todo: queue.Queue[tuple[str, Callable[[], None]] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="errands", daemon=True)
        self._thread.start()

    def do(self, what: str, act: Callable[[], None]) -> None:
        """Do it soon; `what` it writes is for the message if that fails."""
        self._todo.put((what, act))

    def close(self) -> None:
        """Wait until all is done."""
        self._todo.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (errand := self._todo.get()) is not None:
            what, act = errand
            try:
                persistently(act)
            except StorageError as error:
                self._say(f"{what} could not be written: {error.what}; training goes on")
