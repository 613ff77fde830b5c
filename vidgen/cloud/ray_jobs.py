"""The job server of a run's Ray head, through a port-forward: read output, stop the program."""

from __future__ import annotations

import json
from base64 import b64decode
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any

from vidgen.cloud.why import Obj, is_ready, role
from vidgen.errors import ClusterError

if TYPE_CHECKING:
    from vidgen.cloud.cluster import Cluster
    from vidgen.cloud.state import Snapshot

DASHBOARD_PORT = 8265
_TIMEOUT_S = 20.0


class RayJobs:
    """The dashboard of one run. Raises ClusterError when its head is not there."""

    def __init__(self, cluster: Cluster, snapshot: Snapshot) -> None:
        self._cluster, self._rayjob = cluster, snapshot.rayjob
        self._pod = head_pod(snapshot)
        self._token: str | None = None

    @property
    def job_id(self) -> str:
        return str((self._rayjob.get("status") or {})["jobId"])

    def output(self) -> str:
        """Everything the program of this start has written so far."""
        return str(self._call("GET", f"/api/jobs/{self.job_id}/logs").get("logs", ""))

    def stop(self) -> None:
        """Ask the program to save and leave: SIGTERM, SIGKILL after the platform's stopSeconds."""
        self._call("POST", f"/api/jobs/{self.job_id}/stop")

    def _call(self, method: str, path: str) -> dict[str, Any]:
        far = self._cluster.open_port(self._pod, DASHBOARD_PORT)
        far.settimeout(_TIMEOUT_S)
        connection = HTTPConnection("ray-head", DASHBOARD_PORT)
        connection.sock = far
        try:
            headers = {"Host": "ray-head", **self._authorization()}
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, HTTPException) as error:
            raise ClusterError(
                f"the Ray head {self._pod} does not answer: {type(error).__name__}",
                fix="It may be starting or leaving: see `vidgen-cloud status`.",
            ) from None
        finally:
            connection.close()
        if answer.status in (401, 403):
            raise ClusterError(f"the Ray head refuses this token ({answer.status})")
        if answer.status >= 300:
            text = body.decode("utf-8", errors="replace")[:200]
            raise ClusterError(f"the Ray head answered {answer.status} to {method} {path}: {text}")
        found: dict[str, Any] = json.loads(body)
        return found

    def _authorization(self) -> dict[str, str]:
        if self._token is None:
            self._token = ray_token(self._cluster, self._rayjob)
        return {"X-Ray-Authorization": f"Bearer {self._token}"} if self._token else {}


def head_pod(snapshot: Snapshot) -> str:
    """Name of the ready head. Raises ClusterError."""
    cluster = (snapshot.rayjob.get("status") or {}).get("rayClusterName")
    for pod in snapshot.pods:
        labels = pod["metadata"].get("labels") or {}
        if role(pod) == "head" and is_ready(pod) and labels.get("ray.io/cluster") == cluster:
            return str(pod["metadata"]["name"])
    raise ClusterError(
        f"run '{snapshot.rayjob['metadata']['name']}' has no ready head",
        fix="See `vidgen-cloud status`.",
    )


def ray_token(cluster: Cluster, rayjob: Obj) -> str:
    """The dashboard's token, or '' when it is open. Raises ClusterError."""
    from vidgen.cloud.refusals import Forbidden

    options = rayjob["spec"]["rayClusterSpec"].get("authOptions") or {}
    if options.get("mode") != "token":
        return ""
    # KubeRay's own Secret is called like the cluster, and is a new one for each attempt.
    name = options.get("secretName") or rayjob["status"]["rayClusterName"]
    try:
        secret = cluster.get("api/v1/secrets", name)
    except Forbidden:
        raise Forbidden(
            f"you may not read the dashboard's token (Secret {name})",
            fix="Ask for the right to get that Secret in this namespace.",
        ) from None
    return b64decode(secret["data"]["auth_token"]).decode()
