"""`tune`: from a sweep file to its best config."""

from __future__ import annotations

from rich.console import Console

from vidgen.config.load_sweep import Sweep
from vidgen.errors import TrainingError, did_you_mean
from vidgen.tune.book import Book
from vidgen.tune.driver import run_trials
from vidgen.tune.folder import BEST, SweepFolder, Trial
from vidgen.tune.page import write_page
from vidgen.tune.results import write_best, write_results
from vidgen.tune.table import SweepView, standing


def tune(sweep: Sweep, *, resume: bool = False, console: Console | None = None) -> Book:
    """Run a sweep, or go on with one, to its end.

    Args:
        resume: go on with the sweep that its folder holds, if it holds one.
        console: where it is shown; standard output by default.

    Raises:
        ConfigError: there is a sweep in the folder and `resume` is not asked for, or another one.
        Interrupted: stopped by Ctrl-C or SIGTERM, after running trials had saved.
        TrainingError: no trial has a score.
    """
    view = SweepView(sweep, console)
    folder = SweepFolder(sweep.url, sweep.config.storage)
    earlier = folder.open(sweep, resume=resume)
    view.say(f"sweep folder: {folder.url}")
    if earlier:
        finished = sum(trial.finished for trial in earlier.values())
        view.say(f"going on: {finished} of {sweep.trials} trials are finished")
    book = run_trials(sweep, folder, earlier, view)
    if book.best() is None:
        reasons = [trial.reason for trial in book.trials() if trial.reason]
        raise TrainingError(
            f"no trial of {folder.url} has a {sweep.config.metric}"
            + (f"; the first to fail: {reasons[0]}" if reasons else ""),
            fix="" if reasons else "Give it a larger budget, and go on with --resume.",
        )
    write_results(sweep, folder, book)
    best = write_best(sweep, folder, book)
    page = write_page(sweep, folder, book)
    view.say(standing(sweep, book))
    _say_chosen(sweep, book, best, view)
    view.say(f"page: {page}\nnext:\n  vidgen train {folder.url}/{BEST}")
    return book


def _say_chosen(sweep: Sweep, book: Book, best: Trial, view: SweepView) -> None:
    by = sweep.config.final.by
    known = sorted({name for trial in book.trials() for name in trial.final})
    if known and by not in known:
        view.say(
            f"final.by: no score '{by}'{did_you_mean(by, known)}; there are {', '.join(known)}"
        )
    measured = f", {by} {best.final[by]:.4g}" if by in best.final else ""
    view.say(f"best: {best.name}, {sweep.config.metric} {best.score:.4g}{measured}")
