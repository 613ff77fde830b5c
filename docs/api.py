"""Fills in the tables of api.md, what others may build on, from the commands and docstrings.

usage: docs/api.py [--check]     --check: only say whether it is up to date
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Literal, get_args, get_origin

import click

from vidgen.cli import cli
from vidgen.cloud.cli import COMMANDS

TARGET = Path(__file__).with_suffix(".md")
# module -> names. What the guides, the notebook and the examples import has to be among them.
PUBLIC: dict[str, tuple[str, ...]] = {
    "vidgen.config": ("RunConfig", "load_run", "dump"),
    "vidgen.config.load": ("load_options", "recipe_names", "recipe_text"),
    "vidgen.config.load_sweep": ("Sweep", "load_sweep"),
    "vidgen.config.prepare": ("PrepareOptions",),
    "vidgen.config.schema": ("run_schema",),
    "vidgen.config.run": ("StorageConfig",),
    "vidgen.errors": (
        "VidgenError", "ConfigError", "StorageError", "StorageFull", "NotFoundInStore",
        "AccessDenied", "DataError", "ModelError", "TrainingError", "Diverged",
        "CheckpointError", "EvaluationError", "ClusterError", "Interrupted",
    ),
    "vidgen.types": ("Condition", "Batch", "Losses", "to_uint8", "encode_text", "decode_text"),
    "vidgen.config.base": ("FamilyConfig", "ConditionName"),
    "vidgen.models.base": ("VideoSpec", "VideoModel", "Objective", "build_objective"),
    "vidgen.metrics.frames": ("VideoMetric",),
    "vidgen.metrics.features.table": ("build_extractor",),
    "vidgen.metrics.frechet": ("Gaussian", "frechet_distance"),
    "vidgen.rl.rewards.base": ("Reward",),
    "vidgen.storage.base": ("Store", "Stat", "check_key"),
    "vidgen.storage.open": ("open_store",),
    "vidgen.storage.run_folder": ("RunFolder",),
    "vidgen.data.synthetic": ("synthesise",),
    "vidgen.data.prepare": ("prepare",),
    "vidgen.data.dataset": ("Dataset", "open_dataset"),
    "vidgen.data.video": ("VideoInfo", "probe", "decode"),
    "vidgen.data.encode": ("encode_mp4", "write_mp4"),
    "vidgen.engine.train": ("train",),
    "vidgen.engine.load": ("load_model",),
    "vidgen.engine.prompts": ("Prompt",),
    "vidgen.engine.generate": ("Generated", "generate"),
    "vidgen.engine.evaluation": ("Evaluation",),
    "vidgen.engine.evaluate": ("evaluate",),
    "vidgen.engine.score_table": ("print_evaluation",),
    "vidgen.engine.report": ("write_report",),
}  # fmt: skip


def main() -> None:
    text = TARGET.read_text()
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(filled(text))
    elif text != filled(text):
        sys.exit(f"{TARGET} is out of date: run {Path(__file__).name}")


def filled(page: str) -> str:
    """The page with its tables as they have to be; each stands between two marks."""
    for name, lines in {"commands": commands(), "python": python()}.items():
        before, _, rest = page.partition(f"<!-- {name} -->\n")
        _, _, after = rest.partition(f"<!-- end of {name} -->\n")
        page = f"{before}<!-- {name} -->\n{''.join(lines)}<!-- end of {name} -->\n{after}"
    return page


def commands() -> Iterator[str]:
    yield "| command | |\n|---|---|\n"
    for name, command in leaves(cli, "vidgen"):
        yield f"| `{name}` | {first_sentence(command.help or '')} |\n"
    for name, (_, text) in COMMANDS.items():
        yield f"| `vidgen-cloud {name}` | {text} |\n"


def python() -> Iterator[str]:
    yield "| from | import | |\n|---|---|---|\n"
    for module, names in PUBLIC.items():
        path = Path(inspect.getfile(import_module(module))).relative_to(TARGET.parents[1])
        where = f"[{module}](../{path})"
        for name in names:
            told = first_sentence(explained(getattr(import_module(module), name)))
            yield f"| {where} | `{name}` | {told} |\n"
            where = ""


def explained(found: object) -> str:
    """The docstring, or the values of a type that has none of its own."""
    if get_origin(found) is Literal:
        return "One of " + ", ".join(map(str, get_args(found))) + "."
    return inspect.getdoc(found) or ""


def leaves(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Every command below a group by its full name, in the order of the alphabet."""
    if not isinstance(command, click.Group):
        yield name, command
        return
    for each, inner in sorted(command.commands.items()):
        yield from leaves(inner, f"{name} {each}")


def first_sentence(text: str) -> str:
    """On one line, as a cell of a table."""
    line = " ".join(text.split("\n\n")[0].split())
    end = line.find(". ")
    line = line if end < 0 else line[: end + 1]
    return line.replace("|", "\\|").replace("<", "\\<")


if __name__ == "__main__":
    main()
