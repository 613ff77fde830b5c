"""sweep.html: gather what a sweep folder holds and put it on one page."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from vidgen import __version__
from vidgen.config.load import dump
from vidgen.config.load_sweep import Sweep, dump_sweep
from vidgen.observe.curves import Series, draw
from vidgen.observe.progress import duration
from vidgen.observe.report import Fact, Grid
from vidgen.observe.sweep_page import Bar, SweepPage, TrialRow, render_sweep, thread
from vidgen.tune.book import Book
from vidgen.tune.folder import PAGE, SweepFolder, Trial
from vidgen.tune.importance import common_step, importance
from vidgen.tune.results import best_config, chosen

_TONES = 5
_MOST_CURVES = 200
_LEAST_SHARE = 0.005


def write_page(sweep: Sweep, folder: SweepFolder, book: Book) -> str:
    """Write sweep.html; returns its url."""
    html = render_sweep(build_page(sweep, folder, book))
    folder.store.write(PAGE, html.encode("utf-8"))
    return f"{folder.url}/{PAGE}"


def build_page(sweep: Sweep, folder: SweepFolder, book: Book) -> SweepPage:
    """Everything that a sweep has to show."""
    config, trials = sweep.config, book.trials()
    best = chosen(sweep, book)
    assert best is not None
    curves = {trial.name: _curve(folder, trial, config.metric) for trial in trials}
    ranked = [t.name for t in book.ranking()]
    tones = {
        t.name: ranked.index(t.name) * _TONES // len(ranked) if t.name in ranked else _TONES - 1
        for t in trials
    }
    scored = [trial for trial in trials if trial.score is not None]
    columns = {key: [trial.values.get(key) for trial in scored] for key in config.space}
    columns[config.metric] = [trial.score for trial in scored]
    log = {key for key, domain in config.space.items() if domain.loguniform}
    log |= {
        key
        for key, domain in config.space.items()
        if len(domain.items) > 2 and _is_log([v for v in columns[key] if v is not None])
    }
    axes, threads = thread(columns, [(t.name, t.state, tones[t.name]) for t in scored], log)
    shown = [t.name for t in book.ranking()][:_MOST_CURVES]
    step = common_step({name: curves[name] for name in curves if curves[name]})
    return SweepPage(
        name=config.name,
        url=folder.url,
        description=config.description,
        facts=_facts(sweep, book, best),
        warnings=_warnings(trials),
        best=best.name,
        axes=axes,
        threads=sorted(threads, key=lambda t: tones[t.trial]),
        curves=draw(config.metric, [Series(name=n, points=curves[n]) for n in shown]),
        metric=config.metric,
        tones=tones,
        importance=_importance(sweep, trials, curves, step),
        importance_note=_importance_note(sweep, curves, step),
        final=_final(book),
        columns=["trial", "state", "step", config.metric, *config.space, f"{_width(sweep)} time"],
        rows=[_row(sweep, trial) for trial in _by_rank(trials, ranked)],
        config=dump(best_config(sweep, best)),
        sweep=dump_sweep(sweep),
        made_with=__version__,
        made_at=f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC",
    )


def _curve(folder: SweepFolder, trial: Trial, metric: str) -> list[tuple[int, float]]:
    found = {
        line["step"]: line[metric] for line in folder.run(trial.name).metrics() if metric in line
    }
    return sorted(found.items())


def _is_log(values: list[object]) -> bool:
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    return (
        bool(numbers)
        and len(numbers) == len(values)
        and min(numbers) > 0
        and (max(numbers) / min(numbers) > 50)
    )


def _facts(sweep: Sweep, book: Book, best: Trial) -> list[Fact]:
    config, counts = sweep.config, book.counts()
    spent, saved = book.spent_s, book.saved_s
    share = f" ({saved / (saved + spent):.0%})" if saved else ""
    facts = {
        "Trials": ", ".join(f"{count} {state}" for state, count in counts.items() if count),
        f"Best {config.metric}": f"{best.score:.4g} ({best.name})",
        "Search": config.search.kind,
        "Scheduler": config.scheduler.kind,
        "Steps of a trial": f"{sweep.steps:,}",
        f"{_width(sweep)} time": duration(spent),
        "Saved by stopping": duration(saved) + share,
    }
    if config.scheduler.kind == "pbt":
        facts["Exploits"] = str(book.exploits)
    return [Fact(name=name, value=value) for name, value in facts.items()]


def _width(sweep: Sweep) -> str:
    return "GPU" if sweep.config.trial.gpus_per_worker else "CPU"


def _warnings(trials: Sequence[Trial]) -> list[str]:
    failed = [trial for trial in trials if trial.state == "failed"]
    return [f"{trial.name} failed: {trial.reason}" for trial in failed[:5]] + (
        [f"and {len(failed) - 5} more"] if len(failed) > 5 else []
    )


def _importance(
    sweep: Sweep,
    trials: Sequence[Trial],
    curves: dict[str, list[tuple[int, float]]],
    step: int | None,
) -> list[Bar]:
    if step is None:
        return []
    sign = 1.0 if sweep.config.mode == "min" else -1.0
    at = {t.name: dict(curves[t.name])[step] for t in trials if step in dict(curves[t.name])}
    picked = [trial.values for trial in trials if trial.name in at]
    found = importance(list(sweep.config.space), picked, [sign * score for score in at.values()])
    most = max(found.values(), default=0.0)
    return [
        Bar(name=key, share=100 * share, text=f"{share:.0%}")
        for key, share in sorted(found.items(), key=lambda item: -item[1])
        if most > _LEAST_SHARE
    ]


def _importance_note(
    sweep: Sweep, curves: dict[str, list[tuple[int, float]]], step: int | None
) -> str:
    count = sum(step in dict(curve) for curve in curves.values())
    return (
        f"The share of the differences in {sweep.config.metric} at step {step} that go with each "
        f"key alone, over the {count} trials that came so far. Keys that matter only together show "
        "little."
    )


def _final(book: Book) -> Grid | None:
    measured = [trial for trial in book.trials() if trial.final]
    if not measured:
        return None
    names = list(dict.fromkeys(name for trial in measured for name in trial.final))
    rows = [
        [name, *(f"{t.final[name]:.4g}" if name in t.final else "-" for t in measured)]
        for name in names
    ]
    return Grid(head=["score", *(trial.name for trial in measured)], rows=rows)


def _by_rank(trials: Sequence[Trial], ranked: list[str]) -> list[Trial]:
    return sorted(
        trials, key=lambda t: (ranked.index(t.name) if t.name in ranked else len(ranked), t.name)
    )


def _row(sweep: Sweep, trial: Trial) -> TrialRow:
    cells = [
        trial.name,
        trial.state,
        f"{trial.step}/{sweep.steps}",
        "-" if trial.score is None else f"{trial.score:.4g}",
        *(str(trial.values.get(key, "-")) for key in sweep.config.space),
        duration(trial.gpu_s),
    ]
    return TrialRow(trial=trial.name, state=trial.state, cells=cells)
