"""Train every family's recipe, score it, and print the table of the README.

usage: examples/families.py DIR [--only NAME ...] [--set KEY=VALUE ...]

Each recipe takes at most half an hour on two cores, all of them an afternoon. A run that is there
already is not trained again, so the table can be made in several goes.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

from command import vidgen


@dataclass(frozen=True, kw_only=True)
class Row:
    """A recipe of the table.

    Attributes:
        goal: score, and how it must compare: ("psnr", ">=", 30.0).
        codec: recipe that must be trained first.
        latents: whether to write the codec's latents of all clips once, before training.
    """

    recipe: str
    family: str
    goals: tuple[tuple[str, str, float], ...]
    codec: str = ""
    latents: bool = False
    settings: tuple[str, ...] = ()


ROWS = (
    Row(
        recipe="shapes-flow", family="flow, pixels",
        goals=(("colour_right", ">=", 0.9), ("direction_right", ">=", 0.8)),
    ),
    Row(recipe="shapes-vae", family="vae", goals=(("psnr", ">=", 30.0),)),
    Row(
        recipe="shapes-latent-flow", family="flow, latents", codec="shapes-vae", latents=True,
        goals=(("colour_right", ">=", 0.9), ("direction_right", ">=", 0.9)),
    ),
    Row(recipe="shapes-vae-tokens", family="vae, tokens", goals=(("psnr", ">=", 26.0),)),
    Row(
        recipe="shapes-autoregressive", family="autoregressive", codec="shapes-vae-tokens",
        goals=(("colour_right", ">=", 0.9), ("direction_right", ">=", 0.8)),
    ),
    Row(
        recipe="shapes-gan-image", family="gan, from a picture",
        goals=(
            ("colour_right", ">=", 0.9), ("precision_st-stats", ">=", 0.5),
            ("recall_st-stats", ">=", 0.5),
        ),
    ),
    Row(recipe="shapes-gan-progressive", family="gan, grown", goals=(("colour_right", ">=", 0.9),)),
    Row(recipe="shapes-gan", family="gan, words alone", goals=(("colour_right", ">=", 0.9),)),
    Row(
        recipe="shapes-convlstm", family="recurrent, LSTM",
        goals=(("mse_of_baseline", "<=", 0.25),),
    ),
    Row(
        recipe="shapes-convgru", family="recurrent, GRU",
        goals=(("mse_of_baseline", "<=", 0.25),),
    ),
    Row(recipe="shapes-simvp", family="convolutional", goals=(("mse_of_baseline", "<=", 0.25),)),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", default=[], metavar="RECIPE")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    known = {row.recipe: row for row in ROWS}
    if unknown := set(asked.only) - set(known):
        parser.error(f"no recipe {min(unknown)} in the table; known: {', '.join(known)}")
    wanted = [row for row in ROWS if not asked.only or row.recipe in asked.only]
    lines = []
    for row in wanted:
        if row.codec and known[row.codec] not in wanted:
            _train(known[row.codec], asked.folder, asked.settings)
        minutes = _train(row, asked.folder, asked.settings)
        lines.append(_line(row, _scores(row, asked.folder), minutes))
        print(f"{row.recipe}: {lines[-1]}", flush=True)
    print("\n| family | recipe | training, minutes | scores on held-out clips |\n|---|---|---|---|")
    print("\n".join(lines))


def _train(row: Row, folder: Path, settings: list[str]) -> float:
    """Minutes it took, of which the run keeps the record."""
    run, record = folder / row.recipe, folder / row.recipe / "minutes.json"
    if record.exists():
        return float(json.loads(record.read_text()))
    sets = [*row.settings, f"run={run}", *settings]
    if row.codec:
        sets.append(f"model.codec.run={folder / row.codec}")
    began = time.time()
    if row.latents:
        cache = f"{run}-latents"
        vidgen("data", "encode", row.recipe, cache, *_flags(sets))
        sets.append(f"model.codec.cache={cache}")
    vidgen("train", row.recipe, *_flags(sets))
    minutes = (time.time() - began) / 60
    record.write_text(json.dumps(minutes))
    return minutes


def _flags(sets: list[str]) -> list[str]:
    return [part for each in sets for part in ("--set", each)]


def _scores(row: Row, folder: Path) -> dict[str, float]:
    told = json.loads(vidgen("evaluate", str(folder / row.recipe), "--json", keep=True))
    return {
        score["name"]: score["value"]
        for score in told["scores"]
        if score["subject"]["kind"] == "generated"
    }


def _line(row: Row, scores: dict[str, float], minutes: float) -> str:
    cells = []
    for name, sign, limit in row.goals:
        value = scores[name]
        met = value >= limit if sign == ">=" else value <= limit
        unit = "" if name != "psnr" else " dB"
        value, limit = (value, limit) if unit else (100 * value, 100 * limit)
        cells.append(
            f"{name.replace('_', ' ')} {value:.1f}{unit or ' %'} "
            f"({sign} {limit:g}: {'met' if met else 'missed'})"
        )
    return f"| {row.family} | `{row.recipe}` | {minutes:.0f} | {', '.join(cells)} |"


if __name__ == "__main__":
    main()
