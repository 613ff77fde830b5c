"""`vidgen report`: gather what a run folder holds and put it on one page."""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Sequence
from typing import Any

from vidgen import __version__
from vidgen.config.load import dump
from vidgen.config.run import RunConfig, StorageConfig
from vidgen.engine.bench_table import bench_rows
from vidgen.engine.evaluation import Evaluation, ScoredClip
from vidgen.engine.history import Spread, courses, spreads
from vidgen.engine.report_data import data_section
from vidgen.engine.reward_charts import reward_charts
from vidgen.engine.score_table import main_score, score_tables, title
from vidgen.errors import NotFoundInStore
from vidgen.metrics.score import Score
from vidgen.observe.curves import Chart, Points, Series, draw
from vidgen.observe.report import (
    Cell,
    Fact,
    Grid,
    Page,
    Pair,
    ScoreGroup,
    ScoreRow,
    Verdict,
    Video,
    render,
)
from vidgen.storage.run_folder import BENCH, REAL_SAMPLES, REPORT, RunFolder

MAX_PAIRS = 12
MAX_SAMPLES = 8
OVERFIT = 1.05  # a last validation loss this much above the best one is worth a word

Line = dict[str, Any]


def write_report(run: str, storage: StorageConfig | None = None) -> str:
    """Write report.html into a run folder, local or s3://; returns its url.

    Raises NotFoundInStore when there is no run.
    """
    folder = RunFolder(run, storage)
    html = render(build_page(folder))
    folder.store.write(REPORT, html.encode("utf-8"))
    return f"{folder.url}/{REPORT}"


def build_page(folder: RunFolder) -> Page:
    """Everything that a run folder has to show; parts that are not there yet are left out."""
    config = folder.config()
    lines = list(folder.metrics())
    try:
        evaluation = Evaluation.read(folder)
    except NotFoundInStore:
        evaluation = None
    evaluations = Evaluation.read_all(folder)
    samples, asked = _samples(folder)
    before_after, before_after_note = _before_after(folder, config, lines)
    bench = read_bench(folder)
    return Page(
        name=config.name,
        url=folder.url,
        description=config.description,
        facts=run_facts(config, lines, evaluation),
        warnings=_warnings(lines),
        pairs=_pairs(folder, evaluation) if evaluation else [],
        pairs_note=_pairs_note(evaluation) if evaluation else "",
        score_groups=_score_groups(evaluation.scores) if evaluation else [],
        score_notes=evaluation.notes if evaluation else [],
        score_charts=_score_charts(evaluations, main=True),
        more_score_charts=_score_charts(evaluations, main=False),
        seeds=spread_grid(spreads(evaluations), "seeds"),
        speed=speed_grid([("", bench)]) if bench else None,
        verdict=bench["verdict"].capitalize() if bench else "",
        charts=_charts(lines),
        before_after=before_after,
        before_after_note=before_after_note,
        samples=samples,
        sample_captions=asked,
        data=data_section(config),
        config=dump(config),
        versions=[Fact(name=name, value=value) for name, value in config.versions.items()],
        made_with=__version__,
        made_at=f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC",
    )


def _score_charts(evaluations: Sequence[Evaluation], *, main: bool) -> list[Chart]:
    """A chart for each score that was measured at several steps."""
    charts = [
        draw(title(each.score), [Series(name=each.score.name, points=each.points, dots=True)])
        for each in courses(evaluations)
        if main_score(each.score) == main
    ]
    return [chart for chart in charts if chart]


def spread_grid(found: Sequence[Spread], over: str) -> Grid | None:
    """Mean, deviation and range of scores over seeds, or whatever `over` says."""
    rows = []
    for each in found:
        shown = [each.mean, each.deviation, min(each.values), max(each.values)]
        texts = [dataclasses.replace(each.score, value=v, interval=None).text()[0] for v in shown]
        rows.append([title(each.score), *texts, str(len(each.values))])
    if not rows:
        return None
    return Grid(head=["score", "mean", "standard deviation", "lowest", "highest", over], rows=rows)


def read_bench(folder: RunFolder) -> dict[str, Any] | None:
    """bench.json of a run, if it was ever timed."""
    try:
        found: dict[str, Any] = folder.read_json(BENCH)
    except NotFoundInStore:
        return None
    return found


def speed_grid(benches: Sequence[tuple[str, dict[str, Any]]]) -> Grid:
    """Timings of one or several named runs."""
    head: list[str] = []
    rows: list[list[str]] = []
    for name, found in benches:
        head, timed = bench_rows(found["timings"])
        rows += [[name, *row] if name else row for row in timed]
    machines = {f"{b['device']}, {b['threads']} threads, torch {b['torch']}" for _, b in benches}
    note = "; ".join(sorted(machines))
    if len(machines) > 1:
        note = f"Measured on different machines, so these do not compare: {note}"
    named = ["run"] if benches[0][0] else []
    return Grid(head=[*named, *head], rows=rows, note=note)


def run_facts(config: RunConfig, lines: list[Line], evaluation: Evaluation | None) -> list[Fact]:
    """A run in a few words."""
    data, step = config.data, max((line["step"] for line in lines), default=0)
    rate = f" at {data.fps:g} fps" if data.fps else ""
    facts = {
        "Model": config.model.family,
        "Told": ", ".join(config.model.conditions) or "nothing",
        "Clip": f"{data.frames} frames, {data.width}x{data.height}{rate}",
        "Steps": f"{step:,} of {config.train.steps:,}",
    }
    if evaluation:
        facts["Parameters"] = f"{evaluation.parameters:,}"
    seconds = _seconds(lines)
    if seconds:
        facts["Training time"] = str(datetime.timedelta(seconds=round(seconds)))
    validation = column(lines, "val_loss")
    if validation:
        facts["Last validation loss"] = f"{validation[-1][1]:.4g}"
    return [Fact(name=name, value=value) for name, value in facts.items()]


def _seconds(lines: list[Line]) -> float:
    """Time spent on the recorded steps; pauses between two starts of a run do not count."""
    total, before = 0.0, 0
    for line in lines:
        if "step_s" in line:
            total += line["step_s"] * (line["step"] - before)
            total += sum(
                line.get(f"{part}_s", 0.0) for part in ("validate", "sample", "checkpoint")
            )
            before = line["step"]
    return total


def _warnings(lines: list[Line]) -> list[str]:
    validation = column(lines, "val_loss")
    if not validation:
        return []
    (step, best), last = min(validation, key=lambda point: point[1]), validation[-1][1]
    if best <= 0 or last <= best * OVERFIT:  # a reward, negative, is no loss on clips
        return []
    return [
        f"Validation loss was lowest at step {step:.0f} ({best:.4g}) and is {last:.4g} now: "
        "the model has begun to learn its training clips by heart."
    ]


def column(lines: list[Line], name: str) -> Points:
    """(step, value) pairs of one number, in order of steps; the last wins where a step repeats."""
    found = {line["step"]: line[name] for line in lines if name in line}
    return sorted(found.items())


def _charts(lines: list[Line]) -> list[Chart]:
    names = list(dict.fromkeys(name for line in lines for name in line))
    losses = [name for name in names if re.fullmatch(r"(?!val)(\w+[./_])?loss", name)]
    norms = [name for name in names if re.fullmatch(r"(\w+[./_])?grad_norm", name)]

    def series(name: str, shown: str, **style: bool) -> Series:
        return Series(name=shown, points=column(lines, name), **style)

    train = [series(n, "train" if n == "loss" else n, smooth=True) for n in losses]
    charts = [
        *reward_charts(names, lambda name: column(lines, name)),
        draw("Loss", [*train, series("val_loss", "validation", dots=True)]),
        draw("Learning rate", [series("lr", "lr")], from_zero=True),
        draw(
            "Throughput",
            [series("clips_per_s", "clips/s", smooth=True)],
            unit="clips/s",
            from_zero=True,
        ),
        draw("Gradient norm", [series(n, n.replace("_", " "), smooth=True) for n in norms]),
    ]
    return [chart for chart in charts if chart]


def _samples(folder: RunFolder) -> tuple[list[Video], list[str]]:
    """The real clips and grids evenly spread over training, to the newest; what was asked."""
    found = _sampled(folder)
    if not found:
        return [], []
    count = min(MAX_SAMPLES, len(found))
    chosen = [found[round(k * (len(found) - 1) / max(1, count - 1))] for k in range(count)]
    real = Video(data=folder.store.read(REAL_SAMPLES), title="real clips")
    made = [Video(data=folder.store.read(key), title=f"step {step:,}") for step, key in chosen]
    videos = [real, *made]
    try:
        asked = folder.read_json(chosen[-1][1].removesuffix(".mp4") + ".json")
    except NotFoundInStore:
        return videos, []
    return videos, [v.get("caption") or v.get("label") or v["clip"] for v in asked["videos"]]


def _sampled(folder: RunFolder) -> list[tuple[int, str]]:
    """(step, key) of the sample grids, in order of steps."""
    return [
        (int(match.group(1)), stat.key)
        for stat in folder.store.list("samples/")
        if (match := re.fullmatch(r"samples/step_(\d{8})\.mp4", stat.key))
    ]


def _before_after(
    folder: RunFolder, config: RunConfig, lines: list[Line]
) -> tuple[list[Video], str]:
    """Of a reward run: what its start made and what it makes now, and what that was worth."""
    found = _sampled(folder)
    if config.reward is None or len(found) < 2 or found[0][0] != 0:
        return [], ""
    step, newest = found[-1]
    videos = [
        Video(data=folder.store.read(found[0][1]), title="before: the start"),
        Video(data=folder.store.read(newest), title=f"after: step {step:,}"),
    ]
    note = "The same held-out conditions and the same noise; what changed is the model."
    before, after = column(lines, "val_reward_start"), column(lines, "val_reward")
    if before and after:
        note += f" Reward on held-out conditions: {before[-1][1]:.3g} before, {after[-1][1]:.3g} "
        note += f"at step {after[-1][0]:,}."
    return videos, note


def _pairs(folder: RunFolder, evaluation: Evaluation) -> list[Pair]:
    return [_pair(folder, clip) for clip in evaluation.clips[:MAX_PAIRS]]


def _pair(folder: RunFolder, clip: ScoredClip) -> Pair:
    verdicts = [
        Verdict(
            text=name
            if clip.seen.get(name) == wanted
            else f"{name}: {clip.seen.get(name, 'none')}",
            right=clip.seen.get(name) == wanted,
        )
        for name, wanted in clip.asked.items()
    ]
    return Pair(
        real=Video(data=folder.store.read(clip.real)),
        generated=Video(data=folder.store.read(clip.generated)),
        caption=clip.caption or clip.label or clip.source,
        verdicts=verdicts,
    )


def _pairs_note(evaluation: Evaluation) -> str:
    told = next((s.protocol.conditions for s in evaluation.scores if s.protocol.conditions), ())
    names = {"text": "caption", "image": "first frame", "past": "frames before"}
    given = " and ".join(names.get(each, each) for each in told)
    how = f"from the same {given}" if given else "without any condition"
    shown = min(MAX_PAIRS, len(evaluation.clips))
    return (
        f"{shown} held-out clips, which were never trained on, each beside a video made {how} "
        f"at step {evaluation.step:,}. Not picked: they are the first ones."
    )


def _score_groups(scores: Sequence[Score]) -> list[ScoreGroup]:
    return [
        ScoreGroup(
            protocol=table.protocol,
            kinds=table.kinds,
            rows=[
                ScoreRow(title=name, cells=[cell(score) if score else None for score in cells])
                for name, cells in table.rows
            ],
        )
        for table in score_tables(scores)
    ]


def cell(score: Score) -> Cell:
    """A score as it stands in a table."""
    value, interval = score.text()
    return Cell(
        value=value,
        interval=interval,
        bar=round(100 * score.value, 2) if score.unit == "ratio" else None,
    )
