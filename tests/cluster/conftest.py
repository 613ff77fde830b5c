"""A real cluster, when one is given: VIDGEN_TEST_KUBECONFIG names its kubeconfig.

A small CPU-only cluster with KubeRay 1.7 is enough. It must have the images already or be able to
pull them:

    VIDGEN_TEST_IMAGE      repository:tag of vidgen's image; default vidgen:<version>
    VIDGEN_TEST_S3_IMAGE   repository:tag with rclone as its entrypoint; default: the chart's

    kind create cluster --config k8s/overlays/kind/cluster.yaml
    kind load docker-image vidgen:0.1.0 --name vidgen
    kind get kubeconfig --name vidgen > /tmp/kubeconfig
    VIDGEN_TEST_KUBECONFIG=/tmp/kubeconfig pytest -m cluster tests/cluster
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
RELEASE = "vidgen"


@dataclass
class Platform:
    """A namespace of its own with the chart in it.

    Attributes:
        helm: connection for release actions.
        chart: folder of the chart.
        values: what the release was installed with.
        api: client for everything else.
    """

    namespace: str
    kubeconfig: str
    helm: Any
    chart: Path
    values: dict[str, Any]
    api: Any
    notes: dict[str, Any] = field(default_factory=dict)  # what one test keeps for the next

    def object(self, api_version: str, kind: str, name: str) -> Any:
        return self.api.resources.get(api_version=api_version, kind=kind).get(
            name=name, namespace=self.namespace
        )

    def config(self) -> Any:
        """What vidgen-cloud would read."""
        from vidgen.cloud.platform import parse_platform

        found = self.object("v1", "ConfigMap", "vidgen-platform")
        return parse_platform(found.data["platform.yaml"], "ConfigMap vidgen-platform")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            # One release, step by step: all on one worker, in order.
            item.add_marker(pytest.mark.xdist_group("cluster"))


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    """An installed release of the preset kind; its namespace is gone afterwards."""
    kubeconfig = os.environ.get("VIDGEN_TEST_KUBECONFIG")
    if not kubeconfig:
        pytest.skip("no cluster: VIDGEN_TEST_KUBECONFIG is not set")
    helm = pytest.importorskip("helm_python", reason="needs helm-python-sdk")
    from kubernetes import client, config, dynamic

    sys.path.insert(0, str(ROOT / "helm"))
    import generate

    sys.path.remove(str(ROOT / "helm"))  # the chart's folder is called vidgen too
    api = dynamic.DynamicClient(config.new_client_from_config(kubeconfig))
    namespace = f"vidgen-test-{secrets.token_hex(3)}"
    values = generate.merged(generate.preset("kind"), _images())
    api.resources.get(api_version="v1", kind="Namespace").create(
        body={
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": namespace,
                "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            },
        }
    )
    try:
        with helm.Config(kubeconfig_path=kubeconfig, namespace=namespace) as connection:
            made = Platform(
                namespace=namespace,
                kubeconfig=kubeconfig,
                helm=connection,
                chart=generate.CHART,
                values=values,
                api=api,
            )
            connection.install(
                generate.CHART,
                RELEASE,
                values,
                namespace=namespace,
                wait="watcher",
                timeout=300,
            )
            yield made
            connection.uninstall(RELEASE, ignore_not_found=True, timeout=120)
    finally:
        client.CoreV1Api(api.client).delete_namespace(namespace)


def _images() -> dict[str, Any]:
    import vidgen

    def image(text: str) -> dict[str, str]:
        repository, _, tag = text.rpartition(":")
        return {"repository": repository, "tag": tag}

    values: dict[str, Any] = {
        "image": image(os.environ.get("VIDGEN_TEST_IMAGE", f"vidgen:{vidgen.__version__}"))
    }
    if store := os.environ.get("VIDGEN_TEST_S3_IMAGE"):
        values["objectStore"] = {"embedded": {"image": image(store)}}
    return values
