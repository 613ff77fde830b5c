"""Sweeps as RayJobs: trials that fit the pool, a head that fits the trials."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from cloud_setup import SWEEP

from vidgen.cloud.plan import plan_tune, replanned
from vidgen.cloud.platform import Platform
from vidgen.cloud.rayjob import Job, entrypoint, render
from vidgen.config.load_sweep import parse_sweep
from vidgen.errors import ConfigError

NOW = datetime(2026, 11, 21, 0, 45, 12, tzinfo=timezone.utc)


def plan_sweep(folder: Path, platform: Platform, *overrides: str, **options: Any) -> Job:
    (folder / "rates.yaml").write_text(SWEEP)
    given = {"pool": "a100", "workers": None, "name": "rates-1", **options}
    return plan_tune(str(folder / "rates.yaml"), overrides, platform, now=NOW, **given)


def test_a_sweep_fits_its_trials_to_the_pool_and_needs_no_other_file(
    platform: Platform, tmp_path: Path
) -> None:
    job = plan_sweep(tmp_path, platform, "trial.workers=2", workers=16)
    sweep = parse_sweep(job.config, "job")
    trial = sweep.config.trial
    assert (trial.workers, trial.gpus_per_worker, sweep.config.concurrent) == (2, 1, 8)
    assert sweep.base.name == "shapes-flow"
    assert isinstance(sweep.config.recipe, dict)
    assert entrypoint(job).endswith(
        "vidgen tune /tmp/vidgen/run.yaml --resume --set run=s3://clips/team/runs/rates-1"
    )
    cpu = parse_sweep(plan_sweep(tmp_path, platform, pool="cpu", workers=2).config, "job")
    assert (cpu.config.trial.gpus_per_worker, cpu.config.concurrent) == (0, 2)
    again = parse_sweep(replanned(job.resumed(2, workers=32), platform).config, "job")
    assert again.config.concurrent == 16
    assert again.points == sweep.points


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("space={optimizer.lrr: {uniform: [1, 2]}}", "unknown key 'optimizer.lrr'"),
        ("space={model.width: {int: [97, 99]}}", "width 97 over heads 6 must be even"),
        ("trial.workers=16", "a trial of the sweep has 16 workers"),
        ("trial.cpus_per_worker=500", "trial.cpus_per_worker is 500"),
        ("set.data.url=/laptop", "data.url is the local folder /laptop"),
        ("run=elsewhere", "the platform keeps this run in s3://clips/team/runs/rates-1"),
    ],
)
def test_a_sweep_that_could_not_run_is_refused_on_the_laptop(
    platform: Platform, tmp_path: Path, override: str, words: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        plan_sweep(tmp_path, platform, override, workers=8)
    assert words in str(refused.value)


def test_the_head_has_memory_for_the_drivers_of_all_trials(
    platform: Platform, tmp_path: Path
) -> None:
    def memory(**options: Any) -> list[str]:
        manifest = render(plan_sweep(tmp_path, platform, **options), platform, "team")
        head = manifest["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
        needs = head["containers"][0]["resources"]
        return [needs["requests"]["memory"], needs["limits"]["memory"]]

    assert memory(workers=1) == [
        platform.head.resources.requests["memory"],
        platform.head.resources.limits["memory"],
    ]
    assert memory(workers=16) == ["19Gi", "23Gi"]
