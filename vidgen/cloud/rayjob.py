"""A run as a RayJob: pure, (Job, Platform) -> dict, no cluster needed.

The facts behind it: KubeRay copies no labels to pods; HTTPMode needs no submitter pod; a lost head
means the same entrypoint again, so `vidgen train` on a run folder goes on by itself; credentials
reach the code archive's download only through the pods' own environment.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import dataclass, replace
from typing import Any, Literal

import yaml

from vidgen.cloud.names import (
    ANNOTATION,
    MANAGED,
    POOL_LABEL,
    QUEUE_LABEL,
    RUN_LABEL,
    SPEC_HASH,
    rayjob_name,
)
from vidgen.cloud.platform import Platform, Pool
from vidgen.cloud.pods import (
    CONFIG_ENV,
    CONFIG_FILE,
    Layout,
    given,
    head_group,
    layout,
    worker_group,
)
from vidgen.config.load_sweep import parse_sweep
from vidgen.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to run, resolved: enough to make its RayJob again without the laptop that sent it.

    Attributes:
        name: of the run; also of its folder below the object store's runs/.
        command: `vidgen train` or `vidgen tune`.
        config: YAML of the run or sweep.
        recipe: recipe or file it came from, to show.
        workers: ranks; for a sweep, how many workers its trials share.
        pool: key of Platform.pools.
        run_url: run folder.
        code_url: archive of user code, or None.
        steps: train.steps, for progress; 0 when unknown.
        attempt: 1 for a submit, 2 for the first resume, ...
    """

    name: str
    command: Literal["train", "tune"] = "train"
    config: str
    recipe: str
    workers: int
    pool: str
    run_url: str
    code_url: str | None = None
    steps: int = 0
    attempt: int = 1

    @property
    def rayjob(self) -> str:
        return rayjob_name(self.name, self.attempt)

    def resumed(self, attempt: int, *, pool: str | None = None, workers: int | None = None) -> Job:
        """The same run again."""
        return replace(
            self, attempt=attempt, pool=pool or self.pool, workers=workers or self.workers
        )


def render(job: Job, platform: Platform, namespace: str) -> dict[str, Any]:
    """The RayJob to create. The same arguments give the same object, hash annotation included."""
    name, pool = platform.pool(job.pool)
    shape = layout(job.workers, name, pool)
    annotations = {
        "config-sha256": hashlib.sha256(job.config.encode()).hexdigest()[:16],
        "command": job.command,
        "recipe": job.recipe,
        "pool": name,
        "workers": str(job.workers),
        "gpus": str(shape.gpus),
        "nodes": str(shape.pods),
        "run-url": job.run_url,
        "code-url": job.code_url or "",
        "steps": str(job.steps),
        "attempt": str(job.attempt),
    }
    if pool.price_per_hour is not None:
        share = shape.workers_per_pod / max(1, pool.gpus_per_node)
        annotations["price-per-hour"] = f"{pool.price_per_hour * shape.pods * min(1, share):.4f}"
        annotations["currency"] = pool.currency
    labels = {**MANAGED, RUN_LABEL: job.name, POOL_LABEL: name}
    manifest: dict[str, Any] = {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {
            "name": job.rayjob,
            "namespace": namespace,
            "labels": _queued(labels, platform),
            "annotations": {ANNOTATION + key: value for key, value in annotations.items() if value},
        },
        "spec": _spec(job, platform, pool, shape, labels),
    }
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    manifest["metadata"]["annotations"][SPEC_HASH] = digest
    return manifest


def render_probe(name: str, platform: Platform, namespace: str) -> dict[str, Any]:
    """A RayJob of a head alone, as a run would have it, that tries what runs need."""
    pool_name, pool = next(iter(platform.pools.items()))
    labels = {**MANAGED, RUN_LABEL: name, POOL_LABEL: pool_name}
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": name, "namespace": namespace, "labels": _queued(labels, platform)},
        "spec": {
            "entrypoint": shlex.join(
                ["python", "-m", "vidgen.cloud.probe", platform.object_store.url]
            ),
            "submissionMode": "HTTPMode",
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": 60,
            "backoffLimit": 0,
            "rayClusterSpec": {
                "rayVersion": platform.ray_version,
                "authOptions": _auth(platform),
                "headGroupSpec": head_group("", platform, pool, labels),
            },
        },
    }


def job_of(rayjob: dict[str, Any]) -> Job:
    """The Job that a RayJob was rendered from. Raises ConfigError if it is not one of ours."""
    meta = rayjob["metadata"]
    notes = {
        key.removeprefix(ANNOTATION): value for key, value in meta.get("annotations", {}).items()
    }
    try:
        head = rayjob["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
        env = {item["name"]: item.get("value", "") for item in head["containers"][0]["env"]}
        return Job(
            name=meta["labels"][RUN_LABEL],
            command="tune" if notes["command"] == "tune" else "train",
            config=env[CONFIG_ENV].replace("$$", "$"),
            recipe=notes["recipe"],
            workers=int(notes["workers"]),
            pool=notes["pool"],
            run_url=notes["run-url"],
            code_url=notes.get("code-url"),
            steps=int(notes.get("steps", "0")),
            attempt=int(notes.get("attempt", "1")),
        )
    except KeyError as missing:
        raise ConfigError(
            f"RayJob '{meta['name']}' was not made by this vidgen-cloud: it has no {missing}",
            fix="Submit the run again under the same --name: it goes on from its last checkpoint.",
        ) from None


def entrypoint(job: Job) -> str:
    """The shell line that the head runs."""
    line = ["python", "-m", "vidgen.cloud.entrypoint", "--logs", f"{job.run_url}/logs", "--"]
    line += ["vidgen", job.command, CONFIG_FILE]
    if job.command == "train":
        line += ["--workers", str(job.workers)]
    else:
        line += ["--resume"]  # starts one where there is none
    return shlex.join([*line, "--set", f"run={job.run_url}"])


def _spec(
    job: Job, platform: Platform, pool: Pool, shape: Layout, labels: dict[str, str]
) -> dict[str, Any]:
    defaults = platform.run
    spec: dict[str, Any] = {
        "entrypoint": entrypoint(job),
        "submissionMode": "HTTPMode",
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": defaults.ttl_seconds,
        "backoffLimit": defaults.backoff_limit,
        "metadata": {"vidgen-run": job.name},
        "rayClusterSpec": {
            "rayVersion": platform.ray_version,
            "authOptions": _auth(platform),
            "headGroupSpec": head_group(job.config, platform, pool, labels, _drivers(job)),
            "workerGroupSpecs": [worker_group(shape, platform, pool, labels)],
        },
    }
    if job.code_url:
        spec["runtimeEnvYAML"] = yaml.safe_dump({"working_dir": job.code_url})
    spec |= given(
        preRunningDeadlineSeconds=defaults.start_deadline_seconds,
        activeDeadlineSeconds=defaults.deadline_seconds,
    )
    return spec


def _drivers(job: Job) -> int:
    """Trainings that a job has at a time."""
    if job.command == "train":
        return 1
    return parse_sweep(job.config, f"sweep {job.name}").config.concurrent or 1


def _queued(labels: dict[str, str], platform: Platform) -> dict[str, str]:
    """Labels of a RayJob: Kueue looks at no other object."""
    return {**labels, **given(**{QUEUE_LABEL: platform.queue})}


def _auth(platform: Platform) -> dict[str, Any]:
    return {"mode": platform.auth.mode, **given(secretName=platform.auth.secret_name)}
