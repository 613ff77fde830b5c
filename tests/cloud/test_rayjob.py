"""Rendered RayJobs: valid for KubeRay, restricted, without a secret, and readable back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from cloud_setup import SWEEP, helm_generate
from crd_schemas import problems

from vidgen.cloud.names import KUBERAY_NAME, LONGEST, check_name, new_name, rayjob_name
from vidgen.cloud.plan import describe, plan_train, plan_tune, replanned
from vidgen.cloud.platform import Platform, parse_platform
from vidgen.cloud.pods import layout
from vidgen.cloud.rayjob import Job, entrypoint, job_of, render, render_probe
from vidgen.config.load import parse_run
from vidgen.config.run import ScaleConfig
from vidgen.errors import ConfigError

NOW = datetime(2026, 11, 21, 0, 45, 12, tzinfo=timezone.utc)
PRESETS = sorted((Path(__file__).parents[2] / "helm/vidgen/presets").glob("*.yaml"))
STRATEGIES = get_args(ScaleConfig.model_fields["strategy"].annotation)


def plan(config: str, platform: Platform, *overrides: str, **options: Any) -> Job:
    given = {"pool": "a100", "workers": None, "name": "shapes-1", **options}
    return plan_train(config, overrides, platform, now=NOW, **given)


def containers(manifest: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """(pod spec, container) of each group."""
    spec = manifest["spec"]["rayClusterSpec"]
    for group in [spec["headGroupSpec"], *spec.get("workerGroupSpecs", [])]:
        pod = group["template"]["spec"]
        for container in pod["containers"]:
            yield pod, container


def preset_platform(preset: Path) -> Platform:
    """The ConfigMap that the chart writes for a preset, by Helm's own engine."""
    generate = helm_generate()
    values = generate.preset(preset.stem)
    if not values["objectStore"].get("embedded"):
        values = generate.merged({"objectStore": {"url": "s3://clips/team"}}, values)
    objects = generate.render(values)
    found = next(
        o
        for o in objects
        if o["kind"] == "ConfigMap" and o["metadata"]["name"] == "vidgen-platform"
    )
    return parse_platform(found["data"]["platform.yaml"], preset.name)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("command", ["train", "tune"])
def test_every_preset_makes_a_valid_rayjob(
    preset: Path, strategy: str, command: str, config: str, tmp_path: Path
) -> None:
    platform = preset_platform(preset)
    for pool in platform.pools:
        if command == "train":
            job = plan(config, platform, f"scale.strategy={strategy}", pool=pool)
        else:
            sweep = tmp_path / "sweep.yaml"
            sweep.write_text(SWEEP)
            job = plan_tune(
                str(sweep), (), platform, pool=pool, workers=None, name="sweep-1", now=NOW
            )
        manifest = render(job, platform, "team")
        assert problems(manifest) == []
        assert job_of(json.loads(json.dumps(manifest))) == job


@pytest.mark.parametrize("pool", ["a100", "v100-spot", "cpu"])
def test_the_test_platform_is_valid_too(config: str, platform: Platform, pool: str) -> None:
    manifest = render(plan(config, platform, pool=pool), platform, "team")
    assert problems(manifest) == []
    probe = render_probe("doctor-1", platform, "team")
    assert problems(probe) == []


def test_the_validator_refuses_what_the_api_server_refuses(config: str, platform: Platform) -> None:
    manifest = render(plan(config, platform), platform, "team")
    manifest["spec"]["entryPoint"] = "typo"
    manifest["spec"]["rayClusterSpec"]["authOptions"]["mode"] = "password"
    found = problems(manifest)
    assert len(found) == 2
    assert any("entryPoint" in problem for problem in found)


def test_pods_are_restricted(config: str, platform: Platform) -> None:
    """Pod Security 'restricted', and what the recordings say a read-only root needs."""
    manifest = render(plan(config, platform), platform, "team")
    for pod, container in containers(manifest):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] >= 1000
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert "hostNetwork" not in pod
        assert not any("hostPath" in volume for volume in pod["volumes"])
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        env = {item["name"]: item.get("value") for item in container["env"]}
        assert {"/tmp", env["HOME"]} <= mounts
    assert manifest["spec"]["rayClusterSpec"]["authOptions"]["mode"] == "token"


def test_secrets_are_named_never_copied(
    config: str, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2-in-the-environment")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA-in-the-environment")
    manifest = render(plan(config, platform), platform, "team")
    text = json.dumps(manifest)
    assert "in-the-environment" not in text
    for _, container in containers(manifest):
        for item in container["env"]:
            if any(word in item["name"] for word in ("SECRET", "ACCESS_KEY", "TOKEN", "PASSWORD")):
                assert item.keys() == {"name", "valueFrom"}
                assert item["valueFrom"]["secretKeyRef"]["name"] == "vidgen-s3"
    assert "AWS" not in manifest["spec"].get("runtimeEnvYAML", "")
    assert "AWS" not in manifest["spec"]["entrypoint"]


def test_with_cloud_identity_there_is_no_secret_at_all(config: str, platform: Platform) -> None:
    store = platform.object_store.model_copy(update={"secret_name": None})
    bare = platform.model_copy(update={"object_store": store})
    assert "secretKeyRef" not in json.dumps(render(plan(config, bare), bare, "team"))


def test_labels_reach_the_pods_and_fit(config: str, platform: Platform) -> None:
    manifest = render(plan(config, platform), platform, "team")
    spec = manifest["spec"]["rayClusterSpec"]
    for labels in (
        manifest["metadata"]["labels"],
        spec["headGroupSpec"]["template"]["metadata"]["labels"],
        spec["workerGroupSpecs"][0]["template"]["metadata"]["labels"],
    ):
        assert labels["vidgen.dev/run"] == "shapes-1"
        assert all(len(value) <= 63 for value in labels.values())


def test_grace_exceeds_the_drain(config: str, platform: Platform) -> None:
    for pool in platform.pools:
        manifest = render(plan(config, platform, pool=pool), platform, "team")
        for pod, container in containers(manifest):
            env = {item["name"]: item.get("value") for item in container["env"]}
            drain = int(env["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
            assert pod["terminationGracePeriodSeconds"] > drain


def test_the_head_has_no_gpu_and_no_ranks(config: str, platform: Platform) -> None:
    manifest = render(plan(config, platform), platform, "team")
    head = manifest["spec"]["rayClusterSpec"]["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert "nvidia.com/gpu" not in json.dumps(head["template"]["spec"]["containers"])
    annotations = head["template"]["metadata"]["annotations"]
    assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"


def test_kueue_gets_a_label_and_fixed_replicas(config: str, platform: Platform) -> None:
    queued = platform.model_copy(update={"queue": "gpus"})
    manifest = render(plan(config, queued, workers=16), queued, "team")
    assert manifest["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
    group = manifest["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]
    assert group["replicas"] == group["minReplicas"] == group["maxReplicas"] == 2
    assert "deletionStrategy" not in manifest["spec"]
    assert manifest["spec"]["shutdownAfterJobFinishes"] is True


def test_workers_fill_nodes(config: str, platform: Platform) -> None:
    manifest = render(plan(config, platform, workers=16), platform, "team")
    group = manifest["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]
    container = group["template"]["spec"]["containers"][0]
    assert group["replicas"] == 2
    assert container["resources"]["requests"] == {
        "cpu": "88", "memory": "960Gi", "nvidia.com/gpu": "8",
    }  # fmt: skip
    assert {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "64Gi"}} in group[
        "template"
    ]["spec"]["volumes"]
    one = layout(1, "a100", platform.pools["a100"])
    assert (one.pods, one.gpus_per_pod) == (1, 1)
    with pytest.raises(ConfigError, match="need 5 nodes of pool 'a100', which has 4"):
        plan(config, platform, workers=40)
    with pytest.raises(ConfigError, match="--workers 8 or 10"):
        plan(config, platform, workers=9)


def test_the_pool_decides_precision_unless_the_config_does(config: str, platform: Platform) -> None:
    def precision(*overrides: str) -> str:
        job = plan(config, platform, *overrides, pool="v100-spot")
        return parse_run(job.config, "job").train.precision

    assert precision() == "fp16"
    assert precision("train.precision=fp32") == "fp32"


def test_local_data_is_refused_before_anything_is_sent(config: str, platform: Platform) -> None:
    with pytest.raises(ConfigError, match="local folder /data/clips, which pods cannot read"):
        plan(config, platform, "data.synthetic=null", "data.url=/data/clips")


def test_too_many_cpus_per_worker_would_wait_for_ever(config: str, platform: Platform) -> None:
    with pytest.raises(ConfigError, match="a worker of pool 'cpu' has 1"):
        plan(config, platform, "scale.cpus_per_worker=2", pool="cpu", workers=2)


def test_the_batch_must_divide_over_the_workers(config: str, platform: Platform) -> None:
    with pytest.raises(ConfigError, match="divisible"):
        plan(config, platform, "train.batch_size=60")


@pytest.mark.parametrize("name", ["Run", "1run", "run.1", "run_1", "run-", "a" * 44, "run-r2", ""])
def test_names_kuberay_refuses_are_refused_here(name: str) -> None:
    with pytest.raises(ConfigError):
        check_name(name)


def test_made_up_names_are_good_names() -> None:
    for base in ("shapes-flow", "1.5b-model", "x" * 63, "ä"):
        assert check_name(new_name(base, NOW)).endswith("-1121-004512")
    assert len(rayjob_name("a" * LONGEST, 99)) <= KUBERAY_NAME


def test_the_same_job_has_the_same_hash_and_another_another(
    config: str, platform: Platform
) -> None:
    job = plan(config, platform)
    key = "vidgen.dev/spec-sha256"

    def digest(job: Job) -> str:
        return str(render(job, platform, "team")["metadata"]["annotations"][key])

    assert digest(job) == digest(plan(config, platform))
    assert digest(job) != digest(plan(config, platform, "train.steps=101"))
    assert digest(job) != digest(job.resumed(2))


def test_a_dollar_in_the_config_is_not_expanded_by_kubernetes(
    config: str, platform: Platform
) -> None:
    with Path(config).open("a") as file:
        file.write("description: costs $5 a $(HOUR)\n")
    job = plan(config, platform)
    manifest = render(job, platform, "team")
    env = next(containers(manifest))[1]["env"]
    value = next(item["value"] for item in env if item["name"] == "VIDGEN_CONFIG")
    assert "$$(HOUR)" in value
    assert job_of(manifest).config == job.config


def test_resume_fits_the_config_to_another_pool(config: str, platform: Platform) -> None:
    job = plan(config, platform, workers=16)
    again = replanned(job.resumed(2, pool="v100-spot", workers=4), platform)
    assert (again.rayjob, again.run_url) == ("shapes-1-r2", job.run_url)
    scale = parse_run(again.config, "job").scale
    assert (scale.workers, scale.gpus_per_worker) == (4, 1)


def test_the_entrypoint_is_one_safe_shell_line(config: str, platform: Platform) -> None:
    line = entrypoint(plan(config, platform))
    assert line == (
        "python -m vidgen.cloud.entrypoint --logs s3://clips/team/runs/shapes-1/logs -- "
        "vidgen train /tmp/vidgen/run.yaml --workers 8 --set run=s3://clips/team/runs/shapes-1"
    )


def test_the_plan_names_what_will_be_used(config: str, platform: Platform) -> None:
    job = plan(config, platform, workers=16)
    shown = dict(describe(job, platform, render(job, platform, "team")))
    assert shown["workers"] == "16 on 2 pods, 8 GPUs each"
    assert shown["cost"].startswith("about 65.54 USD an hour")
    assert shown["run folder"] == "s3://clips/team/runs/shapes-1"
    assert "nvidia.com/gpu 8" in shown["worker pod"]


def test_a_foreign_rayjob_cannot_be_resumed_and_says_so() -> None:
    foreign = {"metadata": {"name": "other", "labels": {}}, "spec": {}}
    with pytest.raises(ConfigError, match="'other' was not made by this vidgen-cloud"):
        job_of(foreign)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("pools.a100.gracePeriodSeconds=30", "gracePeriodSeconds 30 must exceed drainSeconds 60"),
        ("pools.a100.shm=8GB", "shm: '8GB' is not a Kubernetes quantity"),
        ("pools.a100.maxnodes=2", "pools.a100.maxnodes"),
        ("objectStore.url=http://x", "objectStore.url"),
        ("pools={}", "pools"),
    ],
)
def test_a_wrong_platform_names_the_key(platform: Platform, change: str, words: str) -> None:
    values = yaml.safe_load(yaml.safe_dump(platform.model_dump(by_alias=True, mode="json")))
    path, _, value = change.partition("=")
    *groups, key = path.split(".")
    target = values
    for group in groups:
        target = target[group]
    target[key] = yaml.safe_load(value)
    with pytest.raises(ConfigError) as refused:
        parse_platform(yaml.safe_dump(values), "platform.yaml")
    assert words in str(refused.value)
