"""From what `submit` was told to a Job, and the plan that is shown before anything happens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from math import ceil
from typing import Any

from vidgen.cloud.names import check_name, new_name
from vidgen.cloud.platform import Platform, Pool
from vidgen.cloud.pods import Layout, layout
from vidgen.cloud.quantity import parse_quantity
from vidgen.cloud.rayjob import Job
from vidgen.config.load import dump, load_run
from vidgen.config.load_sweep import Sweep, dump_sweep, load_sweep, parse_sweep
from vidgen.config.run import RunConfig, ScaleConfig
from vidgen.errors import ConfigError

_LONGEST_ENV = 100_000  # characters; Linux gives a variable 128 KiB, and a pod could not start


def plan_train(
    source: str,
    overrides: Sequence[str],
    platform: Platform,
    *,
    pool: str | None,
    workers: int | None,
    name: str | None,
    now: datetime,
) -> Job:
    """A training run, validated whole: config, workers, pool, name. Raises ConfigError."""
    if name is not None:
        check_name(name)
    pool_name, chosen = platform.pool(pool)
    config = load_run(source, list(overrides))
    count = workers or config.scale.workers or max(1, chosen.gpus_per_node)
    layout(count, pool_name, chosen)
    config = load_run(source, [*overrides, *_for_pool(count, chosen, config)])
    _check_reachable(config)
    _check_cpus(config.scale, "scale", pool_name, chosen)
    run = name or new_name(config.name, now)
    url = _run_url(platform, run, config.run)
    return Job(
        name=run,
        config=dump(config),
        recipe=source,
        workers=count,
        pool=pool_name,
        run_url=url,
        steps=config.train.steps,
    )


def plan_tune(
    source: str,
    overrides: Sequence[str],
    platform: Platform,
    *,
    pool: str | None,
    workers: int | None,
    name: str | None,
    now: datetime,
) -> Job:
    """A sweep, validated whole: its trials share `workers` workers. Raises ConfigError."""
    if name is not None:
        check_name(name)
    pool_name, chosen = platform.pool(pool)
    sweep = load_sweep(source, list(overrides))
    count = workers or max(1, chosen.gpus_per_node, sweep.config.trial.workers)
    layout(count, pool_name, chosen)
    sweep = load_sweep(source, [*overrides, *_for_sweep(count, chosen, sweep)])
    _check_reachable(sweep.base)
    _check_cpus(sweep.config.trial, "trial", pool_name, chosen)
    text = dump_sweep(sweep)
    if len(text) > _LONGEST_ENV:
        raise ConfigError(f"{source}: a sweep of {len(text)} characters", expected="at most 100000")
    run = name or new_name(sweep.config.name, now)
    url = _run_url(platform, run, sweep.config.run)
    return Job(
        name=run,
        command="tune",
        config=text,
        recipe=source,
        workers=count,
        pool=pool_name,
        run_url=url,
    )


def _run_url(platform: Platform, name: str, wanted: str | None) -> str:
    """Where the platform keeps a run. Raises ConfigError if its config wants it elsewhere."""
    url = f"{platform.object_store.url}/runs/{name}"
    if wanted not in (None, url):
        raise ConfigError(
            f"the config sets run: {wanted}, but the platform keeps this run in {url}",
            fix="Leave `run` out of the config.",
        )
    return url


def replanned(job: Job, platform: Platform) -> Job:
    """A job whose pool or worker count was changed, with its config fitted to them."""
    from dataclasses import replace

    from vidgen.config.load import parse_run

    name, pool = platform.pool(job.pool)
    layout(job.workers, name, pool)
    where = f"config of run {job.name}"
    if job.command == "tune":
        sweep = parse_sweep(job.config, where, ["concurrent=null"])  # as before's workers allowed
        sweep = parse_sweep(job.config, where, _for_sweep(job.workers, pool, sweep))
        _check_cpus(sweep.config.trial, "trial", name, pool)
        return replace(job, config=dump_sweep(sweep))
    config = parse_run(job.config, where)
    config = parse_run(job.config, where, _for_pool(job.workers, pool, config))
    _check_cpus(config.scale, "scale", name, pool)
    return replace(job, config=dump(config))


def describe(job: Job, platform: Platform, manifest: dict[str, Any]) -> list[tuple[str, str]]:
    """The plan as (what, value) lines."""
    _, pool = platform.pool(job.pool)
    shape = layout(job.workers, job.pool, pool)
    spec = manifest["spec"]["rayClusterSpec"]
    worker = spec["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]
    head = spec["headGroupSpec"]["template"]["spec"]["containers"][0]
    kind = f"spot {pool.gpu}".strip() if pool.spot else pool.gpu
    lines = [
        ("run", f"{job.name}  ({job.command} {job.recipe})"),
        ("pool", f"{job.pool}{f', {kind}' if kind else ''}"),
        ("workers", f"{job.workers} on {_count(shape.pods, 'pod')}, {_per_pod(shape)} each"),
        ("worker pod", _needs(worker["resources"])),
        ("head pod", _needs(head["resources"])),
        ("image", worker["image"]),
        ("queue", platform.queue or "none: starts when nodes are free"),
        ("run folder", job.run_url),
        ("code", job.code_url or "the image's own"),
    ]
    note = manifest["metadata"]["annotations"].get("vidgen.dev/price-per-hour")
    cost = f"about {float(note):.2f} {pool.currency} an hour" if note else "unknown: no price set"
    return [*lines, ("cost", f"{cost} (workers; head and storage come on top)" if note else cost)]


def _for_pool(workers: int, pool: Pool, config: RunConfig) -> list[str]:
    """What a pool decides about a run's config."""
    given = [f"scale.workers={workers}", f"scale.gpus_per_worker={1 if pool.is_gpu else 0}"]
    if pool.precision != "auto" and config.train.precision == "auto":
        given.append(f"train.precision={pool.precision}")
    return given


def _for_sweep(workers: int, pool: Pool, sweep: Sweep) -> list[str]:
    """What a pool decides about a sweep: how many trials at a time, and what each runs on."""
    each = max(1, sweep.config.trial.workers)
    if each > workers:
        raise ConfigError(
            f"a trial of the sweep has {each} workers, and all trials together have {workers}",
            fix=f"Use --workers {each} or more, or set trial.workers.",
        )
    most = min(64, workers // each)
    given = [
        f"trial.workers={each}",
        f"trial.gpus_per_worker={1 if pool.is_gpu else 0}",
        f"concurrent={min(most, sweep.config.concurrent or most)}",
    ]
    if pool.precision != "auto" and sweep.base.train.precision == "auto":
        given.append(f"set.train.precision={pool.precision}")
    return given


def _check_reachable(config: RunConfig) -> None:
    """A pod sees no laptop: data must be in an object store."""
    url = config.data.url
    if url is not None and "://" not in url:
        raise ConfigError(
            f"data.url is the local folder {url}, which pods cannot read",
            fix="Copy it: `vidgen data prepare SRC s3://bucket/prefix`, then --set data.url=s3://...",
        )


def _check_cpus(scale: ScaleConfig, keys: str, name: str, pool: Pool) -> None:
    """Ray waits for ever for a worker that asks more CPUs than a pod has."""
    needs = pool.resources
    text = needs.requests.get("cpu") or needs.limits.get("cpu")
    has = max(1, ceil(parse_quantity(text))) if text else 1
    if scale.cpus_per_worker > has:
        raise ConfigError(
            f"{keys}.cpus_per_worker is {scale.cpus_per_worker:g}, a worker of pool "
            f"'{name}' has {has}",
            fix=f"--set {keys}.cpus_per_worker={has}, or give the pool more cpu.",
        )


def _per_pod(shape: Layout) -> str:
    if shape.gpus_per_pod:
        return _count(shape.gpus_per_pod, "GPU")
    return _count(shape.workers_per_pod, "worker") + " without GPU"


def _needs(resources: dict[str, Any]) -> str:
    merged = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return ", ".join(f"{key} {value}" for key, value in merged.items()) or "no requests"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
