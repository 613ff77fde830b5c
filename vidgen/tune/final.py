"""The best trials of a sweep, measured again with real metrics on clips they did not train on."""

from __future__ import annotations

from collections.abc import Callable

import ray
from ray.exceptions import RayError

from vidgen.config.load_sweep import Sweep
from vidgen.engine.evaluate import evaluate
from vidgen.errors import VidgenError
from vidgen.tune.book import Book
from vidgen.tune.folder import SweepFolder, Trial

_POLL_S = 0.5


def to_measure(sweep: Sweep, book: Book) -> list[Trial]:
    """The best trials that were trained to their end and not measured yet."""
    top = [t for t in book.ranking() if t.state == "done"][: sweep.config.final.top]
    return [trial for trial in top if not trial.final]


def measure_best(
    sweep: Sweep, folder: SweepFolder, book: Book, say: Callable[[str], None],
    check_stop: Callable[[], None],
) -> None:  # fmt: skip
    """Evaluate them side by side, where Ray has room.

    Args:
        say: hears which one could not be measured, and why.
        check_stop: called while waiting; raises Interrupted when asked to stop.
    """
    scale = sweep.config.trial
    task = ray.remote(_measure).options(
        num_cpus=scale.cpus_per_worker, num_gpus=scale.gpus_per_worker, max_retries=1
    )
    pending = {
        task.remote(sweep, folder.run(trial.name).url): trial.name
        for trial in to_measure(sweep, book)
    }
    try:
        while pending:
            check_stop()
            ready, _ = ray.wait(list(pending), timeout=_POLL_S)
            for done in ready:
                name = pending.pop(done)
                try:
                    book.measured(name, *ray.get(done))
                except (VidgenError, RayError) as error:
                    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
                    say(f"{name} could not be measured: {lines[-1] if lines else error}")
    finally:
        for left in pending:
            ray.cancel(left, force=True)


def _measure(sweep: Sweep, run: str) -> tuple[dict[str, float], list[str]]:
    """Scores of a run's generated videos by name, and those of which less is better."""
    found = evaluate(run, clips=sweep.config.final.clips, storage=sweep.config.storage)
    scores = [score for score in found.scores if score.subject.kind == "generated"]
    return {s.name: s.value for s in scores}, [s.name for s in scores if s.better == "lower"]
