"""The data set of a run: the one it names, or a synthetic one made once on this machine."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from vidgen.config.data import SyntheticConfig
from vidgen.config.prepare import PrepareOptions
from vidgen.config.run import RunConfig
from vidgen.data.dataset import Dataset, frame_rate, open_dataset
from vidgen.data.manifest import SUMMARY, VERSION
from vidgen.data.prepare import prepare
from vidgen.errors import StorageError
from vidgen.observe.bar import Tell, bar
from vidgen.storage.cache_folder import cache_folder


def ensure_dataset(config: RunConfig, *, tell: Tell | None = None) -> Dataset:
    """Open `data.url`, or make the synthetic data set that the run asks for.

    A synthetic set is made into a cache folder once; processes that want the same one wait for the
    first. `tell` hears how far it is; by default a bar shows it.

    Raises DataError or StorageError as `open_dataset` and `prepare` do.
    """
    if config.data.url is not None:
        return open_dataset(config.data.url, config.storage)
    wanted = config.data.synthetic
    assert wanted is not None  # RunConfig demands one of the two
    with nullcontext(tell) if tell is not None else bar("synthetic data") as hears:
        folder = _synthetic(wanted, hears)
    return open_dataset(str(folder))


def video_rate(config: RunConfig) -> float:
    """Frames per second of a run's videos; asks the data set when the config leaves it to it."""
    return config.data.fps or frame_rate(ensure_dataset(config).summary, config)


def dataset_url(config: RunConfig) -> str | None:
    """Where a run's data set is; None for a synthetic one that this machine has not made."""
    if config.data.url is not None:
        return config.data.url
    assert config.data.synthetic is not None
    folder, _ = _place(config.data.synthetic)
    return str(folder) if (folder / SUMMARY).is_file() else None


def _place(wanted: SyntheticConfig) -> tuple[Path, PrepareOptions]:
    """The folder of a synthetic data set, and how it is prepared."""
    from vidgen.data import synthetic

    options = PrepareOptions(
        width=synthetic.WIDTH,
        height=synthetic.HEIGHT,
        fps=synthetic.FPS,
        clip_seconds=synthetic.FRAMES / synthetic.FPS,
        # Drawn shapes on a plain ground are what is wanted, however flat, dark or alike.
        max_blur=1,
        max_noise=1,
        min_brightness=0,
        max_brightness=1,
        letterbox="keep",
        shots=False,
        duplicates="keep",
    )
    what = {
        "synthetic": wanted.model_dump(),
        "world": synthetic.VERSION,
        "prepare": options.model_dump(mode="json", exclude={"workers", "timeout_s"}),
        "manifest": VERSION,
    }
    key = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]
    return cache_folder() / f"synthetic-{key}", options


def _synthetic(wanted: SyntheticConfig, tell: Tell) -> Path:
    folder, options = _place(wanted)
    if (folder / SUMMARY).is_file():
        return folder
    with _only_one(folder.with_suffix(".lock")):
        if not (folder / SUMMARY).is_file():  # nobody made it while this process waited
            _make(folder, wanted, options, tell)
    return folder


def _make(folder: Path, wanted: SyntheticConfig, options: PrepareOptions, tell: Tell) -> None:
    from vidgen.data.synthetic import synthesise

    work = folder.with_name(f".making-{folder.name}")
    raw, made = work / "raw", work / "dataset"
    for left_over in (work, folder):  # of a process that was killed
        if left_over.exists():
            shutil.rmtree(left_over)
    synthesise(
        raw,
        clips=wanted.clips,
        seed=wanted.seed,
        progress=lambda done: tell("drawing", done, wanted.clips),
    )
    prepare(
        str(raw),
        str(made),
        options,
        progress=lambda state: tell("preparing", state.done, state.total),
    )
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
