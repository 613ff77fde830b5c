"""`vidgen report RUN RUN ...`: several runs on one page, each beside the first."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vidgen import __version__
from vidgen.config.load import leaves
from vidgen.config.run import RunConfig, StorageConfig
from vidgen.engine.compare import Comparison, compare
from vidgen.engine.evaluation import Evaluation
from vidgen.engine.history import Spread
from vidgen.engine.report import (
    MAX_PAIRS,
    Line,
    cell,
    column,
    read_bench,
    run_facts,
    speed_grid,
    spread_grid,
)
from vidgen.engine.score_table import title
from vidgen.engine.values import Values, read_values
from vidgen.errors import ConfigError, NotFoundInStore
from vidgen.metrics.score import Score
from vidgen.observe.curves import Chart, Series, draw
from vidgen.observe.report import (
    Column,
    ComparisonPage,
    Contest,
    ContestGroup,
    Grid,
    Likes,
    Video,
    render_comparison,
)
from vidgen.storage.open import open_store
from vidgen.storage.run_folder import RunFolder

MAX_RUNS = 6  # as many as there are colours that one can tell apart
_OWN = {"name", "description", "run", "versions"}  # differ between any two runs and mean nothing
_SEED = "seed"


@dataclass(frozen=True, kw_only=True)
class _Run:
    """One of them, read once."""

    name: str
    folder: RunFolder
    config: RunConfig
    lines: list[Line]
    evaluation: Evaluation | None
    values: Values
    bench: dict[str, Any] | None


def write_comparison(runs: Sequence[str], out: str, storage: StorageConfig | None = None) -> str:
    """Write a page about two runs or more to a local file or s3:// url; returns its url.

    Raises:
        ConfigError: a run is named twice, or there are too many.
        NotFoundInStore: there is no such run.
        EvaluationError: their scores have different protocols.
    """
    html = render_comparison(build_comparison(runs, storage)).encode("utf-8")
    place, slash, name = out.rpartition("/")
    store = open_store(place if slash else ".", storage)
    store.write(name, html)
    return f"{store.url}/{name}"


def build_comparison(runs: Sequence[str], storage: StorageConfig | None = None) -> ComparisonPage:
    """What the runs' folders hold, side by side."""
    folders = [RunFolder(url, storage) for url in runs]
    if len({folder.url for folder in folders}) < len(folders):
        raise ConfigError("a run is compared with itself", expected="different runs")
    if len(folders) > MAX_RUNS:
        raise ConfigError(f"{len(folders)} runs on one page", expected=f"at most {MAX_RUNS}")
    names = _names([folder.url for folder in folders])
    found = [_read(name, folder) for name, folder in zip(names, folders, strict=True)]
    scored = [run for run in found if run.evaluation is not None]
    contests = {}
    for run in scored[1:]:
        assert run.evaluation is not None
        assert scored[0].evaluation is not None
        compared = compare(run.evaluation, scored[0].evaluation, run.values, scored[0].values)
        contests[run.name] = {each.mine.name: each for each in compared}
    differing = _differing(found)
    alike = [row[0] for row in differing] == [_SEED]
    benches = [(run.name, run.bench) for run in found if run.bench is not None]
    return ComparisonPage(
        columns=[
            Column(
                name=run.name,
                url=run.folder.url,
                facts=run_facts(run.config, run.lines, run.evaluation),
            )
            for run in found
        ],
        differing=Grid(head=["key", *names], rows=differing) if differing else None,
        groups=_groups(found, scored[0], contests) if scored else [],
        notes=_notes(found),
        seeds=spread_grid(_over_runs(found), "runs") if alike and len(scored) > 1 else None,
        likes=_likes(found),
        likes_note="The first held-out clips that all of these runs were evaluated on, each beside "
        "the video that a run made of its condition.",
        charts=_charts(found),
        speed=speed_grid(benches) if benches else None,
        made_with=__version__,
        made_at=f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC",
    )


def _read(name: str, folder: RunFolder) -> _Run:
    config = folder.config()
    try:
        evaluation = Evaluation.read(folder)
    except NotFoundInStore:
        evaluation = None
    return _Run(
        name=name,
        folder=folder,
        config=config,
        lines=list(folder.metrics()),
        evaluation=evaluation,
        values=read_values(folder, evaluation.step) if evaluation else {},
        bench=read_bench(folder),
    )


def _names(urls: list[str]) -> list[str]:
    """As little of the ends of urls as tells them apart."""
    parts = [url.rstrip("/").split("/") for url in urls]
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-count:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    return urls


def _notes(found: list[_Run]) -> list[str]:
    return [
        f"{run.name} is not scored yet: vidgen evaluate {run.folder.url}"
        for run in found
        if run.evaluation is None
    ]


def _generated(run: _Run) -> dict[str, Score]:
    scores = run.evaluation.scores if run.evaluation else []
    return {score.name: score for score in scores if score.subject.kind == "generated"}


def _groups(
    found: list[_Run], first: _Run, contests: dict[str, dict[str, Comparison]]
) -> list[ContestGroup]:
    groups: dict[str, list[Contest]] = {}
    scores = {run.name: _generated(run) for run in found}
    for name, score in scores[first.name].items():
        against = [contests.get(run.name, {}).get(name) for run in found]
        row = Contest(
            title=title(score),
            cells=[
                cell(scores[run.name][name]) if each or run is first else None
                for run, each in zip(found, against, strict=True)
            ],
            verdicts=[c.verdict if c else "" for c in against],
            differences=[_difference(c) if c else "" for c in against],
        )
        groups.setdefault(str(score.protocol), []).append(row)
    return [ContestGroup(protocol=protocol, rows=rows) for protocol, rows in groups.items()]


def _difference(found: Comparison) -> str:
    scale = 100.0 if found.mine.unit == "ratio" else 1.0
    text = f"{scale * found.difference:+.3g}"
    if found.interval is None:
        return text
    low, high = (f"{scale * end:+.3g}" for end in found.interval)
    return f"{text} ({low} to {high})"


def _over_runs(found: list[_Run]) -> list[Spread]:
    every = [_generated(run) for run in found if run.evaluation]
    shared = [name for name in every[0] if all(name in each for each in every)]
    return [
        Spread(score=every[0][name], values=[each[name].value for each in every]) for name in shared
    ]


def _differing(found: list[_Run]) -> list[list[str]]:
    """Keys whose values are not the same in all configs, with the value of each run."""
    flat = [leaves(run.config) for run in found]
    keys = dict.fromkeys(key for each in flat for key in each)
    return [
        [key, *(str(each.get(key, "-")) for each in flat)]
        for key in keys
        if key.partition(".")[0] not in _OWN and len({str(each.get(key)) for each in flat}) > 1
    ]


def _likes(found: list[_Run]) -> list[Likes]:
    """Videos of clips that every evaluated run has."""
    scored = [run for run in found if run.evaluation is not None]
    if len(scored) < 2:
        return []
    by_clip = []
    for run in scored:
        assert run.evaluation is not None
        by_clip.append({(clip.source, clip.caption): clip for clip in run.evaluation.clips})
    rows: list[Likes] = []
    for key, clip in by_clip[0].items():
        if all(key in other for other in by_clip) and len(rows) < MAX_PAIRS // 2:
            real = Video(data=scored[0].folder.store.read(clip.real), title="real")
            made = [
                Video(data=run.folder.store.read(clips[key].generated), title=run.name)
                for run, clips in zip(scored, by_clip, strict=True)
            ]
            rows.append(Likes(caption=clip.caption or clip.label, videos=[real, *made]))
    return rows


def _charts(found: list[_Run]) -> list[Chart]:
    def lines(name: str, **style: bool) -> list[Series]:
        # Also of a run without it: a run has the same colour everywhere.
        return [Series(name=run.name, points=column(run.lines, name), **style) for run in found]

    charts = [
        draw("Loss", lines("loss", smooth=True)),
        draw("Validation loss", lines("val_loss", dots=True)),
        draw("Throughput", lines("clips_per_s", smooth=True), unit="clips/s", from_zero=True),
        draw("Learning rate", lines("lr"), from_zero=True),
    ]
    return [chart for chart in charts if chart]
