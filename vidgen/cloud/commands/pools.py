"""`vidgen-cloud pools`: where there is room."""

from __future__ import annotations

import click

from vidgen.cloud.session import Session, platform_option
from vidgen.cloud.structured import output_option, print_value


@click.command()
@output_option
@platform_option
@click.pass_context
def command(ctx: click.Context, output: str, platform_file: str | None) -> int:
    """Show pools: GPUs free, used and waited for, prices, who uses them."""
    from vidgen.cloud.capacity import capacities
    from vidgen.cloud.cluster import PODS
    from vidgen.cloud.refusals import Forbidden

    session = Session.of(ctx, platform_file)
    platform, cluster = session.platform, session.cluster
    known = True
    try:
        nodes = cluster.list("api/v1/nodes", everywhere=True)
    except Forbidden as error:
        nodes, known = [], False
        click.echo(f"GPUs cannot be counted: {error.what}", err=True)
    try:
        pods = cluster.list(PODS, everywhere=True)
    except Forbidden:
        pods = cluster.list(PODS)
        click.echo(f"Only pods of namespace {cluster.namespace} are counted.", err=True)
    found = capacities(platform, nodes, pods)
    rows = []
    for name, pool in platform.pools.items():
        now = found[name]
        rows.append(
            {
                "pool": name,
                "gpu": pool.gpu or None,
                "spot": pool.spot,
                "gpu_memory": pool.gpu_memory,
                "gpus_per_node": pool.gpus_per_node,
                "nodes": now.nodes if known else None,
                "max_nodes": pool.max_nodes,
                "free": now.free if known else None,
                "used": now.used,
                "pending": now.pending,
                # What the node autoscaler may still add.
                "may_grow": (pool.max_nodes - now.nodes) * pool.gpus_per_node if known else None,
                "price_per_node_hour": pool.price_per_hour,
                "currency": pool.currency,
                "runs": now.runs,
            }
        )
    if output != "text":
        print_value(rows, output)
        return 0
    for row in rows:
        kind = f"{'spot ' if row['spot'] else ''}{row['gpu'] or ''}".strip()
        price = row["price_per_node_hour"]
        cost = f", {price:g} {row['currency']} a node-hour" if price is not None else ""
        click.echo(f"{row['pool']}{f' ({kind})' if kind else ''}{cost}")
        nodes_now = row["nodes"] if row["nodes"] is not None else "?"
        line = f"  nodes {nodes_now} of {row['max_nodes']}"
        if row["gpus_per_node"]:
            free = row["free"] if row["free"] is not None else "?"
            line += f"; GPUs: {free} free, {row['used']} used, {row['pending']} waited for"
            if row["may_grow"]:
                line += f", {row['may_grow']} more can be added"
        click.echo(line)
        runs: dict[str, int] = row["runs"]  # type: ignore[assignment]
        for run, gpus in sorted(runs.items(), key=lambda item: -item[1]):
            click.echo(f"    {gpus:>3}  {run or '(not a vidgen run)'}")
    return 0
