"""`vidgen explain`: what limits a run, in words, from where its seconds went.

A pure function of the lines of metrics.jsonl and the config, so that every answer can be tested.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from vidgen.config.run import RunConfig

_NEWEST = 100  # lines that count: what limits a run now, not at its start
_WAITS = 0.1  # share of the time from which waiting for data is worth a word
_PAUSES = 0.05  # likewise for validation, samples, checkpoints
_LAGS = 0.1  # share of a step by which the slowest rank is late
_READS = 0.5  # share of the loading that is reading, from which the store is the cause
_LOW_MFU = 0.3
_ALIKE = 0.5  # share of groups that teach nothing
_NOTICE_S = 30.0  # before a node goes, unless the pool says otherwise

Line = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that costs time.

    Attributes:
        what: decode, store, gpu, checkpoint, straggler, validation, samples, restarts, rewards,
            other.
        share: of the run's time; 0 where it has none.
        text: what was seen, in a sentence or two with the numbers.
        tries: what may help, the most promising first.
    """

    what: str
    share: float
    text: str
    tries: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The answer: where the time goes, the largest limit first, then remarks."""

    steps: int
    step_s: float
    shares: dict[str, float]
    limit: Finding
    others: list[Finding]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def explain(config: RunConfig, lines: Sequence[Line]) -> Explanation | None:
    """None while there are not enough lines to say anything."""
    timed = [line for line in lines if "step_s" in line][-_NEWEST - 1 :]
    if len(timed) < 3:
        return None
    # The first step of a start compiles, fills caches, begins to read: it is left out.
    spans = [
        (line, int(line["step"]) - int(before["step"]))
        for before, line in itertools.pairwise(timed)
        if line["step"] > before["step"]
    ]
    steps = sum(n for _, n in spans)
    if not steps:
        return None

    def per_step(name: str) -> float:
        return sum(float(line.get(name, 0.0)) * n for line, n in spans) / steps

    def paused(name: str) -> float:
        return sum(float(line.get(name, 0.0)) for line, _ in spans) / steps

    step_s, wait = per_step("step_s"), per_step("data_wait_s")
    busy = per_step("forward_backward_s") + per_step("optimizer_s")
    pauses = {name: paused(f"{name}_s") for name in ("validate", "sample", "checkpoint")}
    whole = step_s + sum(pauses.values())
    lag = min(per_step("lag_s"), busy)
    shares = {
        "data": wait / whole,
        "compute": max(0.0, busy - lag) / whole,
        "stragglers": lag / whole,
        **{name: seconds / whole for name, seconds in pauses.items()},
    }
    shares["other"] = max(0.0, 1 - sum(shares.values()))
    found = [
        *_data(config, shares["data"], per_step("load_s"), per_step("read_s"), wait, spans),
        *_stragglers(shares["stragglers"], lag, step_s, spans),
        *_pauses(config, shares, pauses),
        *_checkpoints(lines),
        *_restarts(lines),
        *_rewards(config, spans),
    ]
    compute = _compute(config, shares["compute"], spans)
    costly = sorted((each for each in found if each.share), key=lambda each: -each.share)
    # Arithmetic is what should take the time: it is the limit unless something else costs much.
    limit = costly[0] if costly and costly[0].share >= _WAITS else compute
    others = [each for each in [*costly, *(f for f in found if not f.share)] if each is not limit]
    return Explanation(steps=steps, step_s=step_s, shares=shares, limit=limit, others=others)


def _data(
    config: RunConfig,
    share: float,
    load: float,
    read: float,
    wait: float,
    spans: Sequence[tuple[Line, int]],
) -> list[Finding]:
    if share < _WAITS:
        return []
    workers = config.data.loader_workers
    ready = fmean(float(line.get("ready_batches", 0.0)) for line, _ in spans)
    seen = (
        f"each step waits {wait:.3g} s for its batch, and {ready:.1f} of "
        f"{config.data.prefetch} batches are ready on average"
    )
    reading = read / (load * max(1, workers)) if load else 0.0
    if reading >= _READS:
        tries = [
            "set data.disk_cache to a folder on a local disk: each video is then fetched once",
            "use a bucket in the region of the GPUs",
        ]
        if workers:
            tries.append(f"raise data.loader_workers (now {workers}): more requests at a time")
        else:
            tries.append("set data.loader_workers to 4 or more: requests then overlap")
        return [
            Finding(
                what="store",
                share=share,
                text=f"Reading from the store limits this run: {seen}; "
                f"{reading:.0%} of the time to make a batch is reading.",
                tries=tries,
            )
        ]
    tries = [
        f"raise data.loader_workers (now {workers}), up to the cores that a rank has",
        "prepare the data set at the run's own size and frame rate: vidgen data prepare --set "
        f"width={config.data.width} --set height={config.data.height}",
        "raise data.cache_bytes, so that decoded clips stay in memory, if they fit",
    ]
    return [
        Finding(
            what="decode",
            share=share,
            text=f"Decoding limits this run: {seen}; a batch takes {load:.3g} s to make, and only "
            f"{reading:.0%} of that is reading.",
            tries=tries,
        )
    ]


def _stragglers(
    share: float, lag: float, step_s: float, spans: Sequence[tuple[Line, int]]
) -> list[Finding]:
    ranks = [int(line["lag_rank"]) for line, _ in spans if "lag_rank" in line]
    if lag < _LAGS * step_s or not ranks:
        return []
    worst = max(set(ranks), key=ranks.count)
    often = ranks.count(worst) / len(ranks)
    who = (
        f"rank {worst} in {often:.0%} of the lines" if often > 0.5 else "a different rank each time"
    )
    return [
        Finding(
            what="straggler",
            share=share,
            text=f"All ranks wait {lag:.3g} s of each step's {step_s:.3g} s for the slowest one: "
            f"{who}.",
            tries=[
                f"look at the node of rank {worst}: a GPU that throttles, or other work on it"
                if often > 0.5
                else "give ranks more processors or data.loader_workers: clips differ in cost",
                "dashboard 'vidgen / health' shows clocks, power and temperature by GPU",
            ],
        )
    ]


def _pauses(
    config: RunConfig, shares: Mapping[str, float], pauses: Mapping[str, float]
) -> list[Finding]:
    train, found = config.train, []
    if shares["checkpoint"] >= _PAUSES:
        found.append(
            Finding(
                what="checkpoint",
                share=shares["checkpoint"],
                text=f"Saving checkpoints stops training for {shares['checkpoint']:.0%} of its "
                f"time: one every {train.checkpoint_every} steps.",
                tries=[
                    f"raise train.checkpoint_every (now {train.checkpoint_every})",
                    "use a store that is nearer or faster: a save that still runs when the next "
                    "one is due holds training up",
                ],
            )
        )
    if shares["validate"] >= _PAUSES:
        found.append(
            Finding(
                what="validation",
                share=shares["validate"],
                text=f"Validation takes {shares['validate']:.0%} of the time.",
                tries=[
                    f"raise train.validate_every (now {train.validate_every})",
                    f"lower train.validate_clips (now {train.validate_clips})",
                ],
            )
        )
    if shares["sample"] >= _PAUSES:
        found.append(
            Finding(
                what="samples",
                share=shares["sample"],
                text=f"Making sample videos takes {shares['sample']:.0%} of the time.",
                tries=[
                    f"raise train.sample_every (now {train.sample_every})",
                    f"lower train.samples (now {train.samples})",
                ],
            )
        )
    return found


def _checkpoints(lines: Sequence[Line]) -> list[Finding]:
    took = [float(line["save_s"]) for line in lines if "save_s" in line]
    if not took or took[-1] < _NOTICE_S:
        return []
    return [
        Finding(
            what="checkpoint",
            share=0.0,
            text=f"A checkpoint takes {took[-1]:.0f} s from start to commit, longer than the "
            f"{_NOTICE_S:.0f} s of notice that spot nodes give.",
            tries=["scale.strategy=fsdp: ranks then write their shares side by side"],
        )
    ]


def _restarts(lines: Sequence[Line]) -> list[Finding]:
    starts = max((int(line.get("starts", 1)) for line in lines), default=1)
    preemptions = max((int(line.get("preemptions", 0)) for line in lines), default=0)
    if starts <= 2:
        return []
    return [
        Finding(
            what="restarts",
            share=0.0,
            text=f"The run was started {starts} times, {preemptions} of them after a node was "
            "announced to go away; each start does the steps since the last checkpoint again.",
            tries=["read why: vidgen-cloud logs RUN", "lower train.checkpoint_every"],
        )
    ]


def _rewards(config: RunConfig, spans: Sequence[tuple[Line, int]]) -> list[Finding]:
    alike = [float(line["alike"]) for line, _ in spans if "alike" in line]
    if config.reward is None or not alike or fmean(alike) < _ALIKE:
        return []
    return [
        Finding(
            what="rewards",
            share=0.0,
            text=f"{fmean(alike):.0%} of the groups teach nothing: all of a condition's "
            f"{config.reward.group} videos score the same.",
            tries=[
                f"raise reward.group (now {config.reward.group}): more videos differ more",
                "give a reward that says more than right or wrong, or a second one",
                "end here: a reward that is always at its best is reached",
            ],
        )
    ]


def _compute(config: RunConfig, share: float, spans: Sequence[tuple[Line, int]]) -> Finding:
    mfu = [float(line["mfu"]) for line, _ in spans if "mfu" in line]
    text = f"Arithmetic takes {share:.0%} of the time: this is what should limit a run."
    tries = []
    if mfu and fmean(mfu) < _LOW_MFU:
        text += (
            f" But it does only {fmean(mfu):.0%} of what the device does in a large matrix product."
        )
        tries = ["raise train.batch_size: small kernels leave the device idle"]
        if not config.train.compile:
            tries.append("set train.compile=true")
    elif mfu:
        text += f" It does {fmean(mfu):.0%} of what the device does in a large matrix product."
    if config.train.recompute:
        tries.append("set train.recompute=false if memory allows: it computes a forward pass twice")
    tries.append("more workers: scale.workers")
    return Finding(what="arithmetic", share=share, text=text, tries=tries)
