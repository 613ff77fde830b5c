"""`vidgen-cloud fetch`: a run's results on this laptop."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vidgen.cloud.session import Session, platform_option, run_argument
from vidgen.errors import NotFoundInStore

if TYPE_CHECKING:
    from vidgen.storage.base import Stat
    from vidgen.storage.run_folder import RunFolder

WHAT = ("samples", "checkpoint", "report", "logs", "all")


@click.command()
@run_argument
@click.argument("what", type=click.Choice(WHAT), required=False)
@click.option("--out", metavar="DIR", help="Default: runs/NAME, as if it had been trained here.")
@platform_option
@click.pass_context
def command(
    ctx: click.Context, name: str, what: str | None, out: str | None, platform_file: str | None
) -> int:
    """Download results of run NAME: samples, the newest checkpoint, report, logs, or all.

    By default the samples; of a sweep the report, which is its page, its table and its best config.
    The folder can be used as a run: `vidgen generate runs/NAME`. A broken download goes on.
    """
    from vidgen.cloud.download import download
    from vidgen.cloud.run_url import run_url
    from vidgen.storage.run_folder import RunFolder
    from vidgen.tune.folder import SWEEP

    session = Session.of(ctx, platform_file)
    run = RunFolder(run_url(session, name), session.storage)
    sweep = any(stat.key == SWEEP for stat in run.store.list(SWEEP))
    what = what or ("report" if sweep else "samples")
    stats = _wanted(run, what)
    if not stats:
        raise NotFoundInStore(
            f"run '{name}' has no {what} yet",
            fix=f"`vidgen-cloud status {name}` shows how far it is.",
        )
    folder = Path(out) if out is not None else Path("runs") / name
    total = sum(stat.size for stat in stats)
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

        columns = ("{task.description}", BarColumn(), DownloadColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(what, total=total)
            download(run.store, stats, folder, lambda count: bar.advance(task, count))
    else:
        download(run.store, stats, folder, lambda count: None)
    click.echo(f"{len(stats)} files, {total / 1e6:.1f} MB in {folder}")
    return 0


def _wanted(run: RunFolder, what: str) -> list[Stat]:
    """Objects to fetch; config and metrics come along, so that the folder is a run."""
    from vidgen.storage.run_folder import CONFIG, EVAL, EXPORT, METRICS, REPORT, step_name
    from vidgen.tune.folder import BEST, PAGE, RESULTS

    if what == "all":
        return list(run.store.list())
    prefixes = {
        "samples": ["samples/"],
        "report": [REPORT, EVAL, PAGE, BEST, RESULTS],
        "logs": ["logs/"],
        "checkpoint": [EXPORT],
    }[what]
    if what == "checkpoint":
        # A checkpoint without its commit marker is never listed, so never fetched.
        prefixes += [f"checkpoints/{step_name(step)}/" for step in run.checkpoint_steps()[-1:]]
    found = [stat for prefix in prefixes for stat in run.store.list(prefix)]
    if found and what != "logs":
        found += [stat for prefix in (CONFIG, METRICS) for stat in run.store.list(prefix)]
    return found
