"""Every object that the chart, k8s/ or `vidgen-cloud` makes is one that the API server takes."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml
from charts import CHART, EVERY_FILE, ROOT, Object, generate, objects_of
from crd_schemas import problems
from test_policy import runs_of

kubernetes_validate = pytest.importorskip(
    "kubernetes_validate", reason="needs Kubernetes' schemas: pip install kubernetes-validate"
)
MINORS = ("1.35", "1.36", "1.37")
CUSTOM = ("ray.io/", "monitoring.coreos.com/", "kueue.x-k8s.io/")
OVERLAYS = sorted(path.name for path in (ROOT / "k8s" / "overlays").iterdir())


@cache  # value files share most of their objects
def check_text(text: str, minor: str) -> None:
    kubernetes_validate.validate(json.loads(text), minor, strict=True)


def check(objects: list[Object], minor: str) -> None:
    assert objects
    for each in objects:
        if not each["apiVersion"].startswith(CUSTOM):
            check_text(json.dumps(each, sort_keys=True), minor)


@EVERY_FILE
@pytest.mark.parametrize("minor", MINORS)
def test_built_in_kinds(file: Path, minor: str) -> None:
    check(objects_of(file), minor)


@EVERY_FILE
def test_custom_kinds(file: Path) -> None:
    custom = [each for each in objects_of(file) if each["apiVersion"].startswith(CUSTOM)]
    assert custom or "minimal" in file.name
    for each in [*custom, *runs_of(file)]:
        assert problems(each) == [], f"{each['kind']} {each['metadata']['name']}"


def test_the_checks_see_a_wrong_field() -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "dta": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(config, MINORS[-1], strict=True)
    (run, *_) = runs_of(CHART / "presets" / "kind.yaml")
    wrong = {"backofLimit": 1, "rayClusterSpec": {"authOptions": {"mode": "mail"}}}
    found = "\n".join(problems(generate.merged(run, {"spec": wrong})))
    assert "backofLimit" in found
    assert "'mail' is not one of" in found


def kustomized(overlay: str) -> list[Object]:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kustomize needs kubectl on the PATH")
    built = subprocess.run(
        [kubectl, "kustomize", str(ROOT / "k8s" / "overlays" / overlay)],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return list(yaml.load_all(built.stdout, Loader=generate.LOADER))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlay_builds_into_what_the_chart_renders(overlay: str) -> None:
    objects = kustomized(overlay)
    check(objects, MINORS[-1])
    values = generate.overlay_values(overlay)
    wanted = {
        (each["kind"], each["metadata"]["name"]): each
        for each in generate.render(values)
        if each["kind"] != "Job"
    }
    if overlay == "kind":  # neither Prometheus nor Grafana there
        wanted = {k: each for k, each in wanted.items() if not generate.of_monitoring(each)}
    found = {(each["kind"], each["metadata"]["name"]): each for each in objects}
    (namespace,) = set(found) - set(wanted)
    assert namespace == ("Namespace", "vidgen")
    labels = found[namespace]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    cluster_wide = ("ClusterRole", "ClusterRoleBinding", "PriorityClass")
    for key, each in wanted.items():
        for part in ("spec", "data", "rules", "subjects", "roleRef", "value"):
            assert found[key].get(part) == each.get(part), f"{key} {part}"
        if key[0] not in cluster_wide:
            assert found[key]["metadata"]["namespace"] == "vidgen"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_secret_is_written_down(overlay: str) -> None:
    assert [each for each in kustomized(overlay) if each["kind"] == "Secret"] == []
