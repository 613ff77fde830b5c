"""What a command needs of the outside, each made when first asked for: cluster, platform, store."""

from __future__ import annotations

import os
from base64 import b64decode
from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vidgen.errors import AccessDenied, ClusterError, VidgenError

if TYPE_CHECKING:
    from vidgen.cloud.cluster import Cluster
    from vidgen.cloud.platform import Platform
    from vidgen.config.run import StorageConfig

F = TypeVar("F", bound=Callable[..., Any])
PLATFORM_ENV = "VIDGEN_PLATFORM"

yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


def run_argument(command: F) -> F:
    """NAME of a run, which the shell completes from the cluster."""
    return click.argument("name", shell_complete=_runs_beginning)(command)


def _runs_beginning(ctx: click.Context, _: click.Parameter, typed: str) -> list[str]:
    from vidgen.cloud.cluster import RAYJOBS, Cluster
    from vidgen.cloud.names import SELECTOR
    from vidgen.cloud.state import run_of

    given = {**((ctx.parent.obj if ctx.parent else None) or {}), **(ctx.obj or {})}
    try:
        cluster = Cluster.connect(given.get("context"), given.get("namespace"), attempts=1)
        names = {run_of(job) for job in cluster.list(RAYJOBS, labels=SELECTOR)}
    except VidgenError:
        return []  # no cluster at hand: a Tab must not print errors into the prompt
    return sorted(name for name in names if name.startswith(typed))


def platform_option(command: F) -> F:
    """--platform FILE: instead of the cluster's own description."""
    return click.option(
        "--platform", "platform_file", metavar="FILE", envvar=PLATFORM_ENV,
        help="Platform, or rendered chart; default: the cluster's ConfigMap vidgen-platform.",
    )(command)  # fmt: skip


class Session:
    """Cluster, platform and object store as this user sees them; close() ends its tunnels."""

    def __init__(
        self, context: str | None, namespace: str | None, platform_file: str | None = None
    ) -> None:
        self._context, self._namespace, self._file = context, namespace, platform_file
        self._open = ExitStack()

    @classmethod
    def of(cls, ctx: click.Context, platform_file: str | None = None) -> Session:
        """The session of a command, closed when the command ends."""
        given = ctx.obj or {}
        session = cls(given.get("context"), given.get("namespace"), platform_file)
        ctx.call_on_close(session.close)
        return session

    def close(self) -> None:
        self._open.close()

    @cached_property
    def cluster(self) -> Cluster:
        from vidgen.cloud.cluster import Cluster

        return Cluster.connect(self._context, self._namespace)

    @property
    def namespace(self) -> str:
        """Of the cluster; a platform file alone needs no cluster, so then it may stay 'default'."""
        if self._file and "cluster" not in self.__dict__:
            return self._namespace or "default"
        return self.cluster.namespace

    @cached_property
    def platform(self) -> Platform:
        from vidgen.cloud.platform import CONFIG_MAP, KEY, parse_platform, read_platform

        if self._file:
            return read_platform(Path(self._file))
        from vidgen.cloud.refusals import NotFound

        try:
            found = self.cluster.get("api/v1/configmaps", CONFIG_MAP)
        except NotFound:
            raise ClusterError(
                f"namespace '{self.cluster.namespace}' has no vidgen platform "
                f"(ConfigMap {CONFIG_MAP})",
                fix="Give the platform's namespace with --namespace, or install it: "
                "helm install vidgen helm/vidgen.",
            ) from None
        return parse_platform((found.get("data") or {}).get(KEY, ""), f"ConfigMap {CONFIG_MAP}")

    @cached_property
    def storage(self) -> StorageConfig:
        """How this laptop reaches the platform's object store.

        AWS_ENDPOINT_URL of the environment wins; a store inside the cluster is reached through a
        tunnel, with the credentials of its Secret when this user may read it.
        """
        from vidgen.config.run import StorageConfig

        store = self.platform.object_store
        if store.region:
            os.environ.setdefault("AWS_REGION", store.region)
            os.environ.setdefault("AWS_DEFAULT_REGION", store.region)
        if os.environ.get("AWS_ENDPOINT_URL") or not store.pod_selector:
            given = None if os.environ.get("AWS_ENDPOINT_URL") else store.endpoint_url
            return StorageConfig(endpoint_url=given or None)
        from vidgen.cloud.tunnel import Tunnel, ready_pod

        labels = ",".join(f"{key}={value}" for key, value in store.pod_selector.items())
        tunnel = Tunnel(self.cluster, lambda: ready_pod(self.cluster, labels), store.port)
        self._open.enter_context(tunnel)
        if store.secret_name and "AWS_ACCESS_KEY_ID" not in os.environ:
            self._borrow_credentials(store.secret_name)
        return StorageConfig(endpoint_url=tunnel.url)

    def _borrow_credentials(self, secret: str) -> None:
        """Into this process's environment, and nowhere else."""
        from vidgen.cloud.refusals import Forbidden

        try:
            data = self.cluster.get("api/v1/secrets", secret)["data"]
        except Forbidden:
            raise AccessDenied(
                f"no credentials for {self.platform.object_store.url}",
                fix="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ask for the right to read "
                f"the Secret {secret}.",
            ) from None
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            os.environ[name] = b64decode(data[name]).decode()
