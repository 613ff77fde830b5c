"""`vidgen-cloud`: the laptop's side of the platform.

Start-up matters: this module imports click alone. Each command lives in a module of its own that is
imported when the command runs; the table below is all that `--help` needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import NoReturn

import click

from vidgen.console import accept_debug, run
from vidgen.errors import did_you_mean

# command -> (module, one line for --help); the click command in the module is named `command`.
COMMANDS: dict[str, tuple[str, str]] = {
    "doctor": (
        "doctor",
        "Check the cluster, the platform and your permissions; every finding has its fix.",
    ),
    "pools": ("pools", "Show pools: GPUs free, used and pending, prices, who uses them."),
    "submit": ("submit", "Start a run on the cluster."),
    "list": ("list", "List runs and what they are doing."),
    "status": ("status", "Show one run: its true state, why it waits, progress and cost."),
    "logs": ("logs", "Show a run's output, also after its cluster is gone."),
    "cancel": ("cancel", "Save a checkpoint, stop, and confirm that the GPUs are free."),
    "resume": ("resume", "Go on from the last checkpoint, on the same or another pool."),
    "delete": ("delete", "Remove a run's objects from the cluster; the run folder stays."),
    "dashboard": ("dashboard", "Open a run's Ray dashboard, Grafana or TensorBoard."),
    "fetch": ("fetch", "Download a run's samples, checkpoint or report."),
}


class _Commands(click.Group):
    """A group that knows its commands' one-liners and imports a command only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = import_module(f"vidgen.cloud.commands.{COMMANDS[name][0]}")
        command: click.Command = module.command
        command.name = name
        accept_debug(command)
        _accept_where(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            hint = did_you_mean(args[0], COMMANDS)
            ctx.fail(f"no command '{args[0]}'{hint or '; commands: ' + ', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _where() -> list[click.Option]:
    """--context and --namespace: before the command's name, and after it, as with kubectl."""
    return [
        click.Option(
            ["--context"], metavar="NAME", expose_value=False, callback=_note,
            help="Context of the kubeconfig; default: the current one.",
        ),
        click.Option(
            ["-n", "--namespace"], metavar="NAME", expose_value=False, callback=_note,
            help="Namespace; default: the context's.",
        ),
    ]  # fmt: skip


def _note(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.obj = {**(ctx.obj or {}), param.name: value}


def _accept_where(command: click.Command) -> None:
    if not any(param.name == "namespace" for param in command.params):
        command.params += _where()


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from vidgen import __version__

        click.echo(f"vidgen-cloud {__version__}")
        ctx.exit()


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog='Shell completion: eval "$(_VIDGEN_CLOUD_COMPLETE=bash_source vidgen-cloud)" '
    "(zsh_source, fish_source).",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version,
    help="Show the version.",
)  # fmt: skip
def group() -> None:
    """Train on a cluster from this laptop: submit, follow, stop, resume, fetch."""


_accept_where(group)


def main() -> NoReturn:
    """Entry point of the console script."""
    run(group)
