"""What KubeRay and a Ray head do to a RayJob that vidgen-cloud made, as the recordings show it."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from fake_kubernetes import FakeKubernetes

Obj = dict[str, Any]
TOKEN = "example-ray-auth-token"
READY = [
    {
        "type": "RayClusterProvisioned",
        "status": "True",
        "lastTransitionTime": "2026-11-20T23:00:16Z",
    }
]


class FakeOperator:
    """Drives one RayJob by hand, and serves its head's dashboard on a real port."""

    def __init__(self, cluster: FakeKubernetes) -> None:
        self.cluster = cluster
        self.output = "Running entrypoint\nstep 1\n"
        self.asked: list[tuple[str, str, str | None]] = []  # method, path, token header
        self.on_stop = self.stopped
        operator = self

        class Dashboard(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                operator.asked.append(
                    (self.command, self.path, self.headers.get("X-Ray-Authorization"))
                )
                code, body = operator.answer(
                    self.command, self.path, self.headers.get("X-Ray-Authorization")
                )
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = _serve

            def log_message(self, *_: object) -> None:
                """Silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Dashboard)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        cluster.on_patch = self._patched

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, token: str | None) -> tuple[int, bytes]:
        """As Ray 2.60 with token authentication."""
        if token is None:
            return 401, b"Unauthorized: Missing authentication token"
        if token != f"Bearer {TOKEN}":
            return 403, b"Forbidden: Invalid authentication token"
        if method == "POST" and path.endswith("/stop"):
            threading.Thread(target=self.on_stop, daemon=True).start()
            return 200, json.dumps({"stopped": True}).encode()
        if path.endswith("/logs"):
            return 200, json.dumps({"logs": self.output}).encode()
        return 404, b"no such path"

    # -- what happens to the job -----------------------------------------------------------------

    def run(self, name: str, suffix: str = "x1") -> None:
        """Pods ready, program running."""
        job = self.cluster.get("rayjobs", name)
        ray = f"{name}-{suffix}"
        for role in ("head", "worker"):
            pod = f"{ray}-{role}"
            labels = {
                "vidgen.dev/run": job["metadata"]["labels"]["vidgen.dev/run"],
                "ray.io/cluster": ray,
                "ray.io/node-type": role,
            }
            self.cluster.put(
                "pods",
                {
                    "metadata": {"name": pod, "labels": labels},
                    "status": {
                        "phase": "Running",
                        "conditions": [{"type": "Ready", "status": "True"}],
                    },
                },
            )
            self.cluster.ports[pod, 8265] = self._server.server_address[1]
        secret = {
            "metadata": {"name": ray},
            "data": {"auth_token": "ZXhhbXBsZS1yYXktYXV0aC10b2tlbg=="},
        }
        self.cluster.put("secrets", secret)
        self._status(
            name,
            jobDeploymentStatus="Running",
            jobStatus="RUNNING",
            jobId=f"{name}-j",
            rayClusterName=ray,
            rayClusterStatus={"conditions": READY},
        )

    def end(self, name: str, **status: Any) -> None:
        """A terminal status, then, after the TTL, no pods."""
        self._status(name, **{"endTime": "2026-11-20T23:10:00Z", **status})
        time.sleep(0.1)
        self.clear_pods(name)

    def clear_pods(self, name: str) -> None:
        for pod in self.cluster.names("pods"):
            if pod.startswith(f"{name}-x"):
                self.cluster.remove("pods", pod)

    def stopped(self) -> None:
        """The program got SIGTERM, saved and left."""
        time.sleep(0.1)
        for name in self.cluster.names("rayjobs"):
            if self.cluster.get("rayjobs", name).get("status", {}).get("jobStatus") == "RUNNING":
                self.end(
                    name,
                    jobDeploymentStatus="Complete",
                    jobStatus="STOPPED",
                    message="Job was intentionally stopped.",
                )

    def _status(self, name: str, **fields: Any) -> None:
        job = self.cluster.get("rayjobs", name)
        self.cluster.put("rayjobs", {**job, "status": {**job.get("status", {}), **fields}})

    def _patched(self, job: Obj) -> None:
        """Suspend empties the status; the pods leave a little later."""
        if job.get("kind") != "RayJob" or not job["spec"].get("suspend"):
            return
        status = {"jobDeploymentStatus": "Suspended", "failed": 0, "succeeded": 0}
        self.cluster.put("rayjobs", {**job, "status": status})
        threading.Timer(0.2, self.clear_pods, [job["metadata"]["name"]]).start()
