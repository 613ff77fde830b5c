"""The data set of a run: the one it names, or a synthetic one made once on this machine."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vidgen.config.prepare import PrepareOptions
from vidgen.config.run import RunConfig, SyntheticConfig
from vidgen.data.dataset import Dataset, open_dataset
from vidgen.data.manifest import SUMMARY, VERSION
from vidgen.data.prepare import Progress, prepare
from vidgen.errors import StorageError


def ensure_dataset(
    config: RunConfig, *, progress: Callable[[str, int, int], None] | None = None
) -> Dataset:
    """Open `data.url`, or make the synthetic data set that the run asks for.

    A synthetic set is made into a cache folder once; processes that want the same one wait for the
    first. `progress(what, done, total)` is called while it is made.

    Raises DataError or StorageError as `open_dataset` and `prepare` do.
    """
    if config.data.url is not None:
        return open_dataset(config.data.url, config.storage)
    assert config.data.synthetic is not None  # RunConfig demands one of the two
    return open_dataset(str(_synthetic(config.data.synthetic, progress)))


def cache_folder() -> Path:
    """Where made data sets stay: VIDGEN_CACHE, or vidgen in the user's cache folder."""
    if given := os.environ.get("VIDGEN_CACHE"):
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "vidgen"


def _synthetic(wanted: SyntheticConfig, progress: Callable[[str, int, int], None] | None) -> Path:
    from vidgen.data import synthetic

    options = PrepareOptions(
        width=synthetic.WIDTH,
        height=synthetic.HEIGHT,
        fps=synthetic.FPS,
        clip_seconds=synthetic.FRAMES / synthetic.FPS,
    )
    what = {
        "synthetic": wanted.model_dump(),
        "world": synthetic.VERSION,
        "prepare": options.fingerprint(),
        "manifest": VERSION,
    }
    key = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_folder() / f"synthetic-{key}"
    if (folder / SUMMARY).is_file():
        return folder
    with _only_one(folder.with_suffix(".lock")):
        if not (folder / SUMMARY).is_file():  # nobody made it while this process waited
            _make(folder, wanted, options, progress)
    return folder


def _make(
    folder: Path,
    wanted: SyntheticConfig,
    options: PrepareOptions,
    progress: Callable[[str, int, int], None] | None,
) -> None:
    from vidgen.data.synthetic import synthesise

    def preparing(state: Progress) -> None:
        if progress:
            progress("preparing", state.done, state.total)

    work = folder.with_name(f".making-{folder.name}")
    raw, made = work / "raw", work / "dataset"
    for left_over in (work, folder):  # of a process that was killed
        if left_over.exists():
            shutil.rmtree(left_over)
    if progress:
        progress("drawing", 0, wanted.clips)
    synthesise(raw, clips=wanted.clips, seed=wanted.seed)
    prepare(str(raw), str(made), options, progress=preparing)
    made.rename(folder)
    shutil.rmtree(work)


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    """Hold a lock between processes; a process that dies lets go of it."""
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("w")
    except OSError as error:
        raise StorageError(
            f"cannot write the cache folder {lock.parent}: {error.strerror}",
            fix="Set VIDGEN_CACHE to a folder you may write.",
        ) from None
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
