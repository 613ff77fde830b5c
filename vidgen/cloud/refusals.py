"""What the Kubernetes API server refuses, in one clear line each, with what to do."""

from __future__ import annotations

import json
from typing import Any

import urllib3

from vidgen.errors import ClusterError


class NotFound(ClusterError):
    """The object does not exist; the namespace and the kind do."""


class AlreadyExists(ClusterError):
    """An object of that name exists."""


class Forbidden(ClusterError):
    """The user may not do that."""


class BadCredentials(ClusterError):
    """The server does not know who is asking (401): waiting does not help."""


class Expired(ClusterError):
    """A watch's place in history is gone (410): read again and go on."""


def explain(
    status: int, body: bytes | str, request: str, namespace: str, server: str
) -> ClusterError:
    """An HTTP error of the API server as an error that says what to do.

    `request` is method and path; `body` a Status object, or whatever a proxy in between says.
    """
    said, path = _said(body), request.partition(" ")[2]
    details = said.get("details") or {}
    message = " ".join(str(said.get("message") or "").split())
    if status == 401:
        return BadCredentials(
            f"{server} does not accept your credentials (401)",
            fix="They have expired or are wrong: log in again (aws eks get-token, gcloud auth "
            "login, az login, or your identity provider).",
        )
    if status == 403:
        return Forbidden(f"not allowed: {message}", fix=_forbidden_fix(message))
    if status == 404:
        if details.get("kind") == "namespaces":
            return ClusterError(
                f"namespace '{namespace}' does not exist",
                fix="Give the platform's with --namespace.",
            )
        if not details:
            group = path.split("/")[2] if path.startswith("/apis/") else path
            return ClusterError(
                f"the cluster knows nothing of {group}",
                fix="Install KubeRay 1.7: see docs/cluster.md; `vidgen-cloud doctor` checks it."
                if group == "ray.io"
                else "Is that component installed?",
            )
        return NotFound(message or f"{path} not found")
    if status == 409:
        if said.get("reason") == "AlreadyExists":
            return AlreadyExists(message)
        return ClusterError(
            f"changed by someone else at the same time: {message}", fix="Try again."
        )
    if status == 410:
        return Expired(message)
    if status in (400, 422):
        return ClusterError(f"the cluster refused the object: {message}")
    if status == 429:
        return ClusterError("the API server is overloaded (429)", fix="Try again in a minute.")
    return ClusterError(
        f"the API server failed at {request} ({status or 'no answer'}): {message[:300]}",
        fix="Try again; nothing was lost.",
    )


def _forbidden_fix(message: str) -> str:
    """403 also stands for quotas, policies and a namespace on its way out."""
    if "system:anonymous" in message:
        return "The kubeconfig's user has no credentials: log in to the cluster."
    if "exceeded quota" in message:
        return "`vidgen-cloud delete` runs that are over, or ask for a larger quota."
    if "being terminated" in message:
        return "The namespace is being deleted: use another one, or wait until it is gone."
    if "denied the request" in message or "ValidatingAdmissionPolicy" in message:
        return "A policy of the cluster refuses it: show this line to whoever runs the cluster."
    return "Ask whoever runs the cluster for the chart's submitter role in this namespace."


def _said(body: bytes | str) -> dict[str, Any]:
    text = body.decode("utf-8", errors="replace") if isinstance(body, bytes) else body
    try:
        said = json.loads(text)
    except ValueError:
        said = None
    return said if isinstance(said, dict) else {"message": text.strip()}


def unreachable(error: Exception, server: str) -> ClusterError:
    """A connection that was not made, or broke."""
    text = str(error)
    reason = (
        "connection refused"
        if "refused" in text
        else "it does not answer in time"
        if isinstance(error, urllib3.exceptions.TimeoutError)
        else "its name does not resolve"
        if isinstance(error, urllib3.exceptions.NameResolutionError)
        else "its certificate is not trusted"
        if isinstance(error, urllib3.exceptions.SSLError)
        else f"the connection broke ({type(error).__name__})"
    )
    return ClusterError(
        f"cannot reach the cluster at {server}: {reason}",
        fix="Is it running, and are you on its network (VPN)? Is --context the right one?",
    )
