"""Python's garbage collector, kept from what a run holds for good."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def settled_heap() -> Generator[None]:
    """What exists by now (modules, model, data set) is not looked at again meanwhile.

    A full collection walks all of it, 0.1 to 0.3 s with torch loaded, and stops every thread; a
    checkpoint makes enough objects to set one off.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
