"""`vidgen-cloud doctor`: is everything there for runs to work, and what to do if not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from vidgen.cloud.session import Session, platform_option
from vidgen.cloud.structured import output_option, print_value
from vidgen.errors import ClusterError, VidgenError

if TYPE_CHECKING:
    from vidgen.cloud.findings import Finding

_PROBE_S = 300  # a first image pull takes minutes


@click.command()
@click.option("--quick", is_flag=True, help="Only look; start no pod to try the object store.")
@output_option
@platform_option
@click.pass_context
def command(ctx: click.Context, quick: bool, output: str, platform_file: str | None) -> int:
    """Check the cluster, the platform and your permissions.

    Unless --quick, a head pod is started for a moment: it tries the object store under the
    identity of runs. Exit code: 1 if anything fails.
    """
    session = Session.of(ctx, platform_file)
    found = []
    for finding in _findings(session, quick):
        found.append(finding)
        if output == "text":
            mark = {"ok": "ok  ", "warning": "warn", "failure": "FAIL"}[finding.level]
            click.echo(f"{mark}  {finding.check}: {finding.text}")
            if finding.fix:
                click.echo(f"      {finding.fix}")
    if output != "text":
        print_value([vars(finding) for finding in found], output)
    return 1 if any(finding.level == "failure" for finding in found) else 0


def _findings(session: Session, quick: bool) -> Iterator[Finding]:
    from vidgen.cloud.checks import (
        check_cluster,
        check_kuberay,
        check_monitoring,
        check_platform,
        check_pools,
        check_token,
    )
    from vidgen.cloud.findings import failure
    from vidgen.cloud.queue_checks import check_deletion_rules, check_queue

    try:
        yield from check_cluster(session.cluster)
    except VidgenError as error:
        yield failure("cluster", error.what, error.fix or "")
        return
    yield from check_kuberay(session.cluster)
    try:
        platform = session.platform
    except VidgenError as error:
        yield failure("platform", error.what, error.fix or "")
        return
    yield from check_platform(platform)
    yield from check_token(session.cluster, platform)
    yield from check_pools(session.cluster, platform)
    yield from check_queue(session.cluster, platform)
    yield from check_deletion_rules(session.cluster, platform)
    yield from check_monitoring(session.cluster, platform)
    yield _from_here(session)
    if not quick:
        yield from _from_a_pod(session)


def _from_here(session: Session) -> Finding:
    """The object store as this laptop reaches it."""
    from vidgen.cloud.findings import ok, warning
    from vidgen.storage.open import open_store

    url = session.platform.object_store.url
    try:
        next(iter(open_store(url, session.storage).list("code/")), None)
    except VidgenError as error:
        return warning(
            "object store from here",
            error.what,
            (error.fix or "") + " Without it, --working-dir, fetch and shipped logs do not work.",
        )
    return ok("object store from here", f"{url} can be read")


def _from_a_pod(session: Session) -> Iterator[Finding]:
    """The object store, /dev/shm and the mounts as a head pod of a run has them."""
    from vidgen.cloud.cluster import RAYJOBS
    from vidgen.cloud.findings import failure, ok
    from vidgen.cloud.rayjob import render_probe

    cluster = session.cluster
    name = f"doctor-{int(time.time())}"
    manifest = render_probe(name, session.platform, cluster.namespace)
    try:
        made = cluster.create(RAYJOBS, manifest)
    except ClusterError as error:
        yield failure("probe", error.what, error.fix or "")
        return
    try:
        results, why = _probe(session, name)
    finally:
        cluster.delete(RAYJOBS, name, uid=made["metadata"]["uid"])
    if results is None:
        yield failure("probe", f"the head pod did not report: {why}", "See the reason above.")
        return
    for check, result in results.items():
        if "ok" in result:
            yield ok(f"{check} from a pod", result["ok"])
        else:
            yield failure(f"{check} from a pod", result["failed"], _FIXES.get(check, ""))


_FIXES = {
    "object store": "Check objectStore in the chart's values: url, endpointUrl, the Secret's keys, "
    "or the cloud identity of the service account.",
    "/dev/shm": "Give the head more memory: /dev/shm is a part of it.",
    "user": "The image must run as a user other than root.",
}


def _probe(session: Session, name: str) -> tuple[dict[str, dict[str, str]] | None, str]:
    """(what the probe printed, why it printed nothing)."""
    from vidgen.cloud.look import look
    from vidgen.cloud.probe import parse
    from vidgen.cloud.ray_jobs import RayJobs
    from vidgen.cloud.state import interpret

    deadline = time.monotonic() + _PROBE_S
    while True:
        snapshot = look(session.cluster, name)
        state = interpret(snapshot)
        if state.terminal:
            try:
                output = RayJobs(session.cluster, snapshot).output()
            except ClusterError as error:
                return None, f"{state.text}; {error.what}"
            return parse(output), state.text
        if time.monotonic() > deadline:
            return None, "; ".join([state.text, *state.reasons])
        time.sleep(2)
