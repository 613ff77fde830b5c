"""Scores of sets, comparisons of two runs and speed, on real, tiny runs."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from engine.command_line import Vidgen, call, train_two

from vidgen.engine.compare import compare
from vidgen.engine.evaluation import Evaluation
from vidgen.engine.set_measures import Distribution, Temporal
from vidgen.engine.values import read_values
from vidgen.storage.run_folder import RunFolder

CONFIG = """
name: tiny
data: {synthetic: {clips: 80}, frames: 8, height: 16, width: 16, fps: 4}
model:
  {family: flow, conditions: [text, image], width: 24, heads: 2, depth: 1, text_width: 16,
   text_tokens: 2, sample_steps: 2}
train:
  {steps: 2, batch_size: 4, log_every: 1, validate_every: 0, sample_every: 0, samples: 2,
   checkpoint_every: 2}
evaluate: {clips: 8, split: val, training_clips: 12, extractors: [st-stats, frame-stats]}
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """Two runs of different seeds on one data set, evaluated alike."""
    folder = tmp_path_factory.mktemp("tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDGEN_CACHE", str(folder / "cache"))
        one, two = train_two(folder, CONFIG)
        assert call("evaluate", one) == 0
        assert call("evaluate", two) == 0
        yield one, two


def stored(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    found = json.loads((folder / "eval.json").read_text())["scores"]
    return {(score["name"], score["subject"]["kind"]): score for score in found}


def test_every_kind_of_score_with_its_protocol(runs: tuple[Path, Path]) -> None:
    scores = stored(runs[0])
    names = {name for name, _ in scores}
    for extractor in ("st-stats", "frame-stats"):
        assert {f"{s}_{extractor}" for s in ("fd", "kd", "precision", "recall", "copied")} <= names
    assert {"temporal_consistency", "warp_error", "flicker", "roughness", "motion"} <= names
    assert not {"fid", "fvd", "kid", "is"} & names  # nobody gave their networks
    kinds = {kind for name, kind in scores if name == "fd_st-stats"}
    assert kinds == {"generated", "first frame repeated", "noise", "training clips"}
    one = scores["fd_st-stats", "generated"]
    assert one["protocol"]["extractor"] == "st-stats 1"
    assert one["protocol"]["n"] == 8
    assert one["interval"][0] < one["value"] < one["interval"][1]
    assert scores["precision_st-stats", "generated"]["protocol"]["extractor"] == "st-stats 1, k=5"
    assert (
        "nearest of 12 training clips"
        in (scores["copied_st-stats", "generated"]["protocol"]["extractor"])
    )
    for (name, _), score in scores.items():
        assert score["better"] in ("higher", "lower", "like real"), name


def test_an_untrained_model_is_further_off_than_real_clips(runs: tuple[Path, Path]) -> None:
    scores = stored(runs[0])
    assert (
        scores["fd_st-stats", "generated"]["value"]
        > 2 * scores["fd_st-stats", "training clips"]["value"]
    )
    for kind in ("first frame repeated", "noise"):
        assert scores["temporal_consistency", kind]["value"] < 0.3
    real, frozen, noise = (
        scores["fd_st-stats", kind]["value"]
        for kind in ("training clips", "first frame repeated", "noise")
    )
    assert 2 * real < min(frozen, noise)
    assert scores["recall_st-stats", "noise"]["value"] == 0
    assert scores["motion", "first frame repeated"]["value"] == 0
    assert scores["motion", "ground truth"]["value"] > 0.005


def test_few_clips_are_said_to_be_few(runs: tuple[Path, Path]) -> None:
    notes = json.loads((runs[0] / "eval.json").read_text())["notes"]
    assert any("fd_st-stats of 8 clips is biased upwards" in note for note in notes)


def test_against_a_run_pairs_the_clips(vidgen: Vidgen, runs: tuple[Path, Path]) -> None:
    code, out, err = vidgen("evaluate", runs[0], "--against", runs[1], "--json")
    assert code == 0, err
    found = {each["name"]: each for each in json.loads(out)["against"]}
    psnr = found["psnr"]
    assert psnr["difference"] == pytest.approx(psnr["value"] - psnr["other"])
    assert psnr["interval"][0] <= psnr["difference"] <= psnr["interval"][1]
    for name in ("fd_st-stats", "kd_frame-stats", "temporal_consistency", "all_right"):
        assert found[name]["interval"] is not None, name
        assert found[name]["verdict"] in ("better", "worse", "unclear")
    code, out, _ = vidgen("evaluate", runs[0], "--against", runs[1])
    assert code == 0
    assert "95 % interval" in out


def test_a_run_is_no_better_than_itself(runs: tuple[Path, Path]) -> None:
    folder = RunFolder(str(runs[0]))
    mine, values = Evaluation.read(folder), read_values(folder, 2)
    for each in compare(mine, mine, values, values):
        assert each.difference == 0
        assert each.verdict == "unclear"
        if each.interval:
            assert each.interval == (0, 0)


def test_a_spoilt_run_is_clearly_worse(runs: tuple[Path, Path]) -> None:
    folder = RunFolder(str(runs[0]))
    mine, values = Evaluation.read(folder), read_values(folder, 2)
    spoilt = dict(values)
    spoilt["psnr"] = values["psnr"] - 3
    spoilt["made/st-stats"] = values["made/st-stats"] + 5
    found = {each.mine.name: each for each in compare(mine, mine, values, spoilt)}
    assert found["psnr"].verdict == "better"
    assert found["psnr"].interval == pytest.approx((3, 3), abs=1e-4)
    assert found["fd_st-stats"].verdict == "better"
    assert found["fd_frame-stats"].verdict == "unclear"


def test_different_protocols_are_refused(vidgen: Vidgen, runs: tuple[Path, Path]) -> None:
    code, _, err = vidgen("evaluate", runs[0], "--clips", "6", "--against", runs[1])
    assert code == 1
    assert "two different protocols does not compare: n (6 and 8)" in err
    assert call("evaluate", runs[0]) == 0  # as it was


def test_against_a_data_set_uses_its_clips(
    vidgen: Vidgen, runs: tuple[Path, Path], tmp_path: Path
) -> None:
    raw, other = tmp_path / "raw", tmp_path / "prepared"
    assert call("data", "synth", raw, "--clips", "30", "--seed", "5") == 0
    assert call("data", "prepare", raw, other, "--set", "fps=4") == 0
    before = stored(runs[0])["psnr", "generated"]
    code, out, err = vidgen(
        "evaluate", runs[0], "--against", other, "--extractor", "st-stats", "--json"
    )
    assert code == 0, err
    found = {s["name"]: s for s in json.loads(out[out.index("{") :])["scores"]}
    assert found["psnr"]["protocol"]["data"] != before["protocol"]["data"]
    assert "fd_frame-stats" not in found
    assert call("evaluate", runs[0]) == 0  # as it was


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--extractor", "st-stat"], 2, "unknown feature extractor 'st-stat' (did you mean"),
        (["--extractor", "i3d"], 1, "Give --weights i3d=PATH, or --download"),
        (["--extractor", "i3d", "--weights", "i3d=/no/such"], 1, "no such weights file"),
        (["--extractor", "i3d", "--weights", "i3d={eval}"], 1, "is not i3d_torchscript.pt"),
        (["--weights", "i3d=/no/such"], 2, "Add --extractor i3d"),
        (["--weights", "i3d"], 2, "is not NAME=PATH"),
        (["--against", "{nowhere}"], 1, "is neither a run nor a prepared data set"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_fails_before_anything_is_generated(
    options: list[str], code: int, says: str, vidgen: Vidgen, runs: tuple[Path, Path],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    places = {"eval": runs[0] / "eval.json", "nowhere": tmp_path / "nowhere"}
    before = (runs[0] / "eval.json").read_bytes()
    found, _, err = vidgen("evaluate", runs[0], *[o.format(**places) for o in options])
    assert found == code
    assert says in err
    assert (runs[0] / "eval.json").read_bytes() == before


def test_no_network_unless_asked(
    vidgen: Vidgen, runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Scoring opens no connection at all; a missing network is a download's problem alone."""
    tried: list[object] = []

    def refuse(self: socket.socket, address: object) -> None:
        tried.append(address)
        raise OSError("no network here")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: refuse(socket.socket(), a))
    assert vidgen("evaluate", runs[0])[0] == 0
    assert vidgen("report", runs[0])[0] == 0
    assert vidgen("evaluate", runs[0], "--extractor", "i3d")[0] == 1
    assert tried == []
    code, _, err = vidgen("evaluate", runs[0], "--extractor", "i3d", "--download")
    assert code == 1
    assert "could not download https://" in err
    assert tried


def test_bench_prints_a_verdict(vidgen: Vidgen, runs: tuple[Path, Path]) -> None:
    argv = ["bench", runs[0], "--batch", "1", "--batch", "2", "--steps", "1", "--calls", "2"]
    code, out, _ = vidgen(*argv)
    assert code == 0
    assert "real time" in out
    found = json.loads((runs[0] / "bench.json").read_text())
    assert [(t["batch"], t["steps"]) for t in found["timings"]] == [(1, 1), (2, 1)]


def test_measures_take_batches_of_any_size() -> None:
    """One clip at a time gives what all at once give."""
    from types import SimpleNamespace

    from vidgen.metrics.features.table import build_extractor

    generator = torch.Generator().manual_seed(0)
    real, made = (torch.rand(10, 3, 5, 16, 16, generator=generator) * 2 - 1 for _ in range(2))
    results = []
    for size in (10, 1, 4):
        both = [Distribution(build_extractor("frame-stats"), frames=5), Temporal()]
        for rows in torch.arange(10).split(size):
            batch = SimpleNamespace(batch=SimpleNamespace(video=real[rows]), index=rows.tolist())
            for measure in both:
                measure.update(batch, made[rows])  # type: ignore[arg-type]
        results.append({k: v for m in both for k, v in m.values().items()})
    for other in results[1:]:
        for name, value in results[0].items():
            torch.testing.assert_close(other[name], value, atol=1e-4, rtol=1e-4)
