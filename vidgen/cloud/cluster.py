"""The Kubernetes API as plain JSON, with every failure turned into one clear line.

The only `import kubernetes`. Objects stay dicts, as the API sends them: that is what
RayJobs are anyway, and what recordings of real clusters hold. Reads are tried again through 429,
5xx and broken connections; a create is tried again too, because its caller tells a repeated one by
its hash.
"""

from __future__ import annotations

import json
import logging
import os
import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote

import urllib3
import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.stream.ws_client import portforward_call

from vidgen.cloud.refusals import Expired, Forbidden, NotFound, explain, unreachable
from vidgen.errors import ClusterError, ConfigError, did_you_mean

RAYJOBS = "apis/ray.io/v1/rayjobs"
PODS = "api/v1/pods"
EVENTS = "api/v1/events"
_TRY_AGAIN = {429, 500, 502, 503, 504}
_ATTEMPTS = 5
_FIRST_WAIT, _LONGEST_WAIT = 0.25, 8.0  # seconds
_PAGE = 500  # objects a request
_CONNECT_S, _READ_S = 5.0, 30.0


class Cluster:
    """One namespace of one cluster, as one user."""

    def __init__(self, api: client.ApiClient, namespace: str, *, attempts: int = _ATTEMPTS) -> None:
        self._api, self.namespace, self._attempts = api, namespace, attempts
        self.server: str = api.configuration.host

    @classmethod
    def connect(
        cls,
        context: str | None = None,
        namespace: str | None = None,
        *,
        attempts: int = _ATTEMPTS,
    ) -> Cluster:
        """From the kubeconfig, or from inside a pod. Raises ConfigError."""
        settings = client.Configuration()
        file = os.environ.get("KUBECONFIG") or "~/.kube/config"
        try:
            contexts, current = config.list_kube_config_contexts(config_file=file)
            names = [item["name"] for item in contexts]
            if context and context not in names:
                raise ConfigError(
                    f"no context '{context}' in the kubeconfig{did_you_mean(context, names)}",
                    fix=f"Contexts: {', '.join(names)}.",
                )
            chosen = next(c for c in contexts if c["name"] == context) if context else current
            with _overheard() as said:
                config.load_kube_config(file, context=context, client_configuration=settings)
            if said and not settings.api_key and not settings.cert_file:
                raise ClusterError(
                    f"the login command of context '{chosen['name']}' failed: {said[-1]}",
                    fix="It is `exec` in the kubeconfig: is it installed, and are you logged in?",
                )
            namespace = namespace or chosen["context"].get("namespace")
        except (OSError, yaml.YAMLError, TypeError, KeyError, UnicodeDecodeError) as error:
            problem = " ".join(str(error).split()) or type(error).__name__
            raise ConfigError(
                f"the kubeconfig {file} cannot be read: {problem}",
                fix="Repair it, or name another one: KUBECONFIG=FILE.",
            ) from None
        except config.ConfigException as error:
            try:
                config.load_incluster_config(client_configuration=settings)
            except config.ConfigException:
                raise ConfigError(
                    f"no cluster to talk to: {error}",
                    fix="Set KUBECONFIG, or get the kubeconfig from your cloud "
                    "(aws eks update-kubeconfig, gcloud container clusters get-credentials, "
                    "az aks get-credentials).",
                ) from None
        settings.retries = False  # done here, where it is known what may be repeated
        return cls(client.ApiClient(settings), namespace or "default", attempts=attempts)

    # -- objects ---------------------------------------------------------------------------------

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """One object; kind is like 'apis/ray.io/v1/rayjobs'. Raises NotFound, Forbidden."""
        return self._json("GET", self._path(kind, name))

    def list(
        self, kind: str, *, labels: str = "", fields: str = "", everywhere: bool = False
    ) -> list[dict[str, Any]]:
        """Every matching object, page by page; `everywhere`: not only in this namespace."""
        query = {"labelSelector": labels, "fieldSelector": fields, "limit": str(_PAGE)}
        path = f"/{kind}" if everywhere else self._path(kind)
        found: list[dict[str, Any]] = []
        while True:
            try:
                page = self._json("GET", path, query={k: v for k, v in query.items() if v})
            except Expired:
                if "continue" not in query:
                    raise
                # The list took so long that its place in history is gone: all at once, then.
                found, query = [], {**query, "limit": "", "continue": ""}
                continue
            found += page.get("items") or []
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return found
            query["continue"] = token

    def create(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create one object; unknown fields are refused. Raises AlreadyExists, also when an earlier
        try of this very call got through unanswered: compare what is there."""
        return self._json("POST", self._path(kind), {"fieldValidation": "Strict"}, body)

    def patch(self, kind: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """JSON merge patch."""
        return self._json("PATCH", self._path(kind, name), body=body)

    def delete(self, kind: str, name: str, *, uid: str) -> None:
        """Delete this very object, never another one that took its name; gone is gone."""
        options = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",
        }
        with suppress(NotFound):
            self._json("DELETE", self._path(kind, name), body=options)

    def raw(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """GET, or POST with a body, of any path that speaks JSON."""
        return self._json("POST" if body else "GET", path, body=body)

    def wait_for_change(self, kind: str, name: str, version: str, seconds: int) -> None:
        """Return when the object changes, or after `seconds`, whichever comes first."""
        query = {
            "watch": "true",
            "fieldSelector": f"metadata.name={name}",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        }
        began, pause = time.monotonic(), min(1.0, seconds)
        try:
            answer = self._request("GET", self._path(kind), query, timeout=seconds + 5.0)
            try:
                for line in _lines(answer):
                    event = json.loads(line)
                    if event.get("type") == "BOOKMARK":
                        continue
                    if event.get("type") == "ERROR":
                        pause = seconds
                        break
                    return
            finally:
                answer.close()
        except Expired:
            pause = seconds  # an object that has not changed for long cannot be watched from there
        except (ClusterError, urllib3.exceptions.HTTPError, ValueError):
            pass  # the caller reads everything again anyway; a watch only makes that happen sooner
        # A watch that ends at once must not turn its caller into a busy loop.
        time.sleep(max(0.0, pause - (time.monotonic() - began)))

    def pod_log(
        self, pod: str, container: str, *, previous: bool = False, tail: int | None = None
    ) -> str:
        """A container's log."""
        query = {"container": container, "previous": str(previous).lower()}
        if tail is not None:
            query["tailLines"] = str(tail)
        answer = self._request("GET", f"{self._path(PODS, pod)}/log", query)
        return str(answer.data.decode("utf-8", errors="replace"))

    def open_port(self, pod: str, port: int) -> Any:
        """A socket to a port of a pod; close it when done."""
        # Not through stream.portforward: that swaps the client's request method for a moment, for
        # every thread, and stumbles over a refusal without a body.
        headers: dict[str, str] = {}
        self._api.update_params_for_auth(headers, [], ["BearerToken"])
        url = f"{self.server}{self._path(PODS, pod)}/portforward"
        query = [("ports", str(port))]
        try:
            forward = portforward_call(
                self._api.configuration, "GET", url, query_params=query, headers=headers
            )
        except ApiException as error:
            raise self._portforward_error(error, pod) from None
        found = forward.socket(port)
        found.setblocking(True)
        return found

    # -- requests --------------------------------------------------------------------------------

    def _path(self, kind: str, name: str = "") -> str:
        group, _, plural = kind.rpartition("/")
        path = f"/{group}/namespaces/{quote(self.namespace)}/{plural}"
        return f"{path}/{quote(name)}" if name else path

    def _json(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        answer = self._request(method, path, query, body)
        try:
            found: dict[str, Any] = json.loads(answer.data)
        except ValueError:
            raise ClusterError(
                f"{self.server}{path} answered with something that is no JSON",
                fix="Is this address a Kubernetes API server?",
            ) from None
        return found

    def _request(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
        timeout: float = _READ_S,
    ) -> Any:
        """The raw answer with a status below 300, after as many tries as it takes."""
        headers = {"Accept": "application/json"}
        if method == "PATCH":
            headers["Content-Type"] = "application/merge-patch+json"
        problem: ClusterError | None = None
        wait = _FIRST_WAIT
        for attempt in range(self._attempts):
            if attempt:
                time.sleep(wait * random.uniform(0.5, 1.0))
                wait = min(2 * wait, _LONGEST_WAIT)
            try:
                return self._api.call_api(
                    path,
                    method,
                    query_params=list((query or {}).items()),
                    header_params=dict(headers),
                    body=body,
                    auth_settings=["BearerToken"],
                    _preload_content=False,
                    _return_http_data_only=True,
                    _request_timeout=(_CONNECT_S, timeout),
                )
            except ApiException as error:
                status, said = error.status or 0, error.body or str(error.reason or "")
                problem = explain(status, said, f"{method} {path}", self.namespace, self.server)
                # A merge patch without a version that meets another writer may just be repeated.
                collided = error.status == 409 and method == "PATCH"
                if error.status not in _TRY_AGAIN and not collided:
                    raise problem from None
                after = (error.headers or {}).get("Retry-After", "")
                wait = max(wait, min(float(after), _LONGEST_WAIT)) if after.isdigit() else wait
            except urllib3.exceptions.HTTPError as error:
                problem = unreachable(error, self.server)
        assert problem is not None
        raise problem

    def _portforward_error(self, error: ApiException, pod: str) -> ClusterError:
        # The websocket client reports a refusal as status 0 and 'Handshake status 403 ... {body}'.
        status = re.search(r"Handshake status (\d+)", str(error.reason))
        if status and status[1] == "403":
            return Forbidden(
                f"you may not open a port of pod {pod} in namespace {self.namespace}",
                expected="verbs get and create on pods/portforward",
                fix="Ask for the chart's submitter role.",
            )
        if status and status[1] == "404":
            return NotFound(f"pod {pod} is gone")
        return ClusterError(f"cannot open a port of pod {pod}: {str(error.reason)[:200]}")


@contextmanager
def _overheard() -> Iterator[list[str]]:
    """What the client logs: of a login command that fails it says so, and goes on without."""
    said: list[str] = []
    ear = logging.Handler()
    ear.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    root = logging.getLogger()
    root.addHandler(ear)  # the only one there: so nothing reaches the terminal
    try:
        yield said
    finally:
        root.removeHandler(ear)


def _lines(answer: Any) -> Iterator[bytes]:
    rest = b""
    for chunk in answer.stream(2**16, decode_content=True):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line for line in whole if line.strip())
