"""`vidgen-cloud list`: every run, one line each."""

from __future__ import annotations

from datetime import datetime, timezone

import click

from vidgen.cloud.session import Session
from vidgen.cloud.structured import output_option, print_value


@click.command()
@click.option("-A", "--all-namespaces", is_flag=True, help="Not only this namespace.")
@output_option
@click.pass_context
def command(ctx: click.Context, all_namespaces: bool, output: str) -> int:
    """List runs, newest first."""
    from vidgen.cloud.cluster import PODS, RAYJOBS
    from vidgen.cloud.names import RUN_LABEL, SELECTOR
    from vidgen.cloud.refusals import Forbidden
    from vidgen.cloud.state import (
        Snapshot,
        attempt_of,
        interpret,
        note,
        parse_time,
        run_label,
        run_of,
    )
    from vidgen.cloud.summary import duration
    from vidgen.cloud.why import Obj

    cluster = Session.of(ctx).cluster
    jobs = cluster.list(RAYJOBS, labels=SELECTOR, everywhere=all_namespaces)
    pods_known = True
    by_run: dict[tuple[str, str], list[Obj]] = {}
    try:
        for pod in cluster.list(PODS, labels=RUN_LABEL, everywhere=all_namespaces):
            meta = pod["metadata"]
            by_run.setdefault((meta["namespace"], meta["labels"][RUN_LABEL]), []).append(pod)
    except Forbidden:
        pods_known = False
    newest = {}
    for job in sorted(jobs, key=attempt_of):
        newest[job["metadata"]["namespace"], run_of(job)] = job
    rows = []
    now = datetime.now(timezone.utc)
    for (namespace, run), job in newest.items():
        # Events are left to `status`: one request a pod is too much for a list.
        state = interpret(
            Snapshot(
                rayjob=job, pods=by_run.get((namespace, run_label(job)), []), pods_known=pods_known
            )
        )
        rows.append(
            {
                "run": run,
                "namespace": namespace,
                "phase": state.phase,
                "state": state.text,
                "pool": note(job, "pool") or None,
                "workers": int(note(job, "workers", "0")) or None,
                "recipe": note(job, "recipe") or None,
                "created": job["metadata"]["creationTimestamp"],
            }
        )
    rows.sort(key=lambda row: str(row["created"]), reverse=True)
    if output != "text":
        print_value(rows, output)
        return 0
    if not rows:
        click.echo(f"No runs in namespace {cluster.namespace}.", err=True)
        return 0
    cells = [
        (
            *((str(row["namespace"]),) if all_namespaces else ()),
            str(row["run"]),
            str(row["pool"] or "-"),
            str(row["workers"] or "-"),
            duration((now - parse_time(str(row["created"]))).total_seconds()),
            str(row["state"])[:100],
        )
        for row in rows
    ]
    head = (*(("NAMESPACE",) if all_namespaces else ()), "RUN", "POOL", "WORKERS", "AGE", "STATE")
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    for line in (head, *cells):
        padded = "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True))
        click.echo(padded.rstrip())
    return 0
