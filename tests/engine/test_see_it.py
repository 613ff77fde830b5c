"""generate, evaluate and report on a real, tiny run: synthetic clips, a flow model, four steps."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine.command_line import Vidgen, call
from PIL import Image

from vidgen.data.page import _histogram
from vidgen.data.shapes import Scene
from vidgen.data.synthetic import paint
from vidgen.data.video import decode, probe
from vidgen.engine.evaluation import Evaluation
from vidgen.engine.report import build_page
from vidgen.engine.samples import columns
from vidgen.engine.weights import weights_step
from vidgen.errors import CheckpointError
from vidgen.storage.run_folder import EXPORT, RunFolder

CAPTION = "a red circle moving left slowly on a black background"
CONFIG = """
name: tiny
data: {synthetic: {clips: 40}, frames: 8, height: 16, width: 16, fps: 4}
model:
  {family: flow, conditions: [text, image], width: 24, heads: 2, depth: 1, text_width: 16,
   text_tokens: 2, sample_steps: 2}
train:
  {steps: 4, batch_size: 4, log_every: 1, validate_every: 2, sample_every: 2, samples: 2,
   checkpoint_every: 2}
evaluate: {clips: 4}
"""

LIKENESS = ("psnr", "ssim", "perceptual_vidgen-clip")


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A finished run with checkpoints of steps 2 and 4, trained and evaluated by `vidgen`."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny.yaml").write_text(CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDGEN_CACHE", str(folder / "cache"))
        assert call("train", folder / "tiny.yaml", "--set", f"run={folder / 'run'}") == 0
        assert call("evaluate", folder / "run") == 0
        yield folder / "run"


def pixels(file: Path) -> np.ndarray:
    return decode(file, fps=4)


def test_generate_writes_what_a_person_can_watch(
    vidgen: Vidgen, tiny_run: Path, tmp_path: Path
) -> None:
    argv = ["generate", tiny_run, "--caption", CAPTION, "--caption", "a blue square", "--seed", "3"]
    code, out, err = vidgen(*argv, "--out", tmp_path / "a")
    assert code == 0
    assert err == "note: without --image the model shows whatever it has learned\n"
    names = ["video_000.mp4", "video_001.mp4", "contact_sheet.png", "generated.json"]
    assert out.splitlines() == [f"{tmp_path / 'a'}/{name}" for name in names]
    for name in names[:2]:
        info = probe(tmp_path / "a" / name)
        assert (info.width, info.height, info.fps) == (128, 128, 4.0)
        assert len(pixels(tmp_path / "a" / name)) == 8
    sheet = Image.open(tmp_path / "a" / "contact_sheet.png")
    assert sheet.width > 8 * 96
    assert sheet.height > 2 * 96
    record = json.loads((tmp_path / "a" / "generated.json").read_text())
    assert record["prompt"] == {"captions": [CAPTION, "a blue square"]}
    assert (record["step"], record["seed"], record["guidance"]) == (4, 3, 2.0)
    assert record["videos"][0] == {"file": "video_000.mp4", "caption": CAPTION}

    assert vidgen(*argv, "--out", tmp_path / "b")[0] == 0
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_what_is_asked_changes_what_is_made(vidgen: Vidgen, tiny_run: Path, tmp_path: Path) -> None:
    picture = tmp_path / "wide.png"
    Image.new("RGB", (64, 32), (250, 30, 30)).save(picture)
    asked: dict[str, list[Any]] = {
        "plain": [],
        "seed": ["--seed", "1"],
        "step": ["--step", "2"],
        "guidance": ["--guidance", "9"],
        "image": ["--image", picture],
    }
    made = {}
    for name, more in asked.items():
        out = tmp_path / name
        assert (
            vidgen("generate", tiny_run, "--caption", CAPTION, "--n", "1", "--out", out, *more)[0]
            == 0
        )
        made[name] = pixels(out / "video_000.mp4")
    for name in list(asked)[1:]:
        assert not np.array_equal(made["plain"], made[name]), f"{name} changed nothing"


def test_generate_defaults(
    vidgen: Vidgen, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = vidgen("generate", tiny_run, "--json")
    assert (code, err) == (0, "")
    made = json.loads(out)
    assert len(made["videos"]) == 4
    folder = Path(made["url"])
    assert folder.parent == tmp_path / "generated"
    assert folder.name.startswith("tiny-20")
    assert (folder / "video_003.mp4").is_file()


def test_generate_refuses_what_the_model_does_not_read(
    vidgen: Vidgen, tiny_run: Path, tmp_path: Path
) -> None:
    code, out, err = vidgen("generate", tiny_run, "--label", "circle", "--out", tmp_path / "x")
    assert (code, out) == (2, "")
    assert err == (
        "error: the model of run 'tiny' does not read --label; expected --caption, --image, the "
        "conditions it was trained with\n"
    )
    (tmp_path / "broken.png").write_text("no picture")
    code, _, err = vidgen("generate", tiny_run, "--image", tmp_path / "broken.png")
    assert code == 1
    assert "broken.png is not a picture that can be read" in err
    code, _, err = vidgen("generate", tiny_run, "--step", "3")
    assert code == 1
    assert "no committed checkpoint of step 3; expected one of 2, 4" in err
    assert not (tmp_path / "x").exists()


def test_step_of_the_weights(tiny_run: Path, tmp_path: Path) -> None:
    folder = RunFolder(str(tiny_run))
    assert weights_step(folder) == 4
    assert weights_step(folder, 2) == 2
    unfinished = RunFolder(str(shutil.copytree(tiny_run, tmp_path / "run")))
    unfinished.store.delete(EXPORT)
    unfinished.store.delete("checkpoints/step_00000004/COMMITTED")
    assert weights_step(unfinished) == 2
    unfinished.store.write(EXPORT, (2).to_bytes(8, "little") + b"{}")
    with pytest.raises(CheckpointError, match="does not name its step"):
        weights_step(unfinished)


def test_evaluation_scores_and_their_protocols(tiny_run: Path) -> None:
    found = Evaluation.read(RunFolder(str(tiny_run)))
    kinds = [(score.name, score.subject.kind) for score in found.scores]
    judged = ["colour", "shape", "direction", "speed", "background", "all"]
    told = [
        ("validation_loss", "generated"),
        *[(name, k) for name in LIKENESS for k in ("generated", "first frame repeated")],
        *[(f"{a}_right", k) for k in ("generated", "ground truth") for a in judged],
    ]
    assert kinds[: len(told)] == told
    assert {("temporal_consistency", "generated"), ("fd_st-stats", "generated")} <= set(kinds)
    loss = found.scores[0]
    assert loss.protocol.extractor == "flow objective"
    for score in found.scores:
        protocol = score.protocol
        assert (protocol.n, protocol.split) == (4, "test")
        assert (protocol.frames, protocol.height, protocol.width, protocol.fps) == (8, 16, 16, 4.0)
        assert protocol.conditions == ("image", "text")
    assert all(s.subject.step == 4 for s in found.scores if s.subject.kind == "generated")
    ceiling = {s.name: s.value for s in found.scores if s.subject.kind == "ground truth"}
    assert ceiling["all_right"] == 1.0, "the judge does not even read real clips"
    assert found.parameters > 10_000
    assert "that is not in train" in found.notes[0]
    assert len(found.clips) == 4
    for clip in found.clips:
        assert pixels(tiny_run / clip.real).shape == pixels(tiny_run / clip.generated).shape
        assert clip.asked["colour"] in clip.caption


def test_evaluation_is_deterministic_and_compares(
    vidgen: Vidgen, tiny_run: Path, tmp_path: Path
) -> None:
    before = Evaluation.read(RunFolder(str(tiny_run)))
    copy = shutil.copytree(tiny_run, tmp_path / "copy")
    code, out, _ = vidgen("evaluate", copy, "--json", "--against", tiny_run)
    assert code == 0
    shown = json.loads(out)
    against = shown.pop("against")
    assert shown == json.loads((copy / "eval.json").read_text())
    assert [score["value"] for score in shown["scores"]] == [score.value for score in before.scores]
    assert {row["difference"] for row in against} == {0.0}

    code, _, err = vidgen("evaluate", copy, "--clips", "2", "--against", tiny_run)
    assert code == 1
    assert "validation_loss of two different protocols does not compare: n (2 and 4)" in err
    code, _, err = vidgen("evaluate", tiny_run, "--against", tmp_path / "copy" / "samples")
    assert code == 1
    assert "is neither a run nor a prepared data set" in err
    (copy / "eval.json").unlink()
    code, _, err = vidgen("evaluate", tiny_run, "--against", copy)
    assert code == 1
    assert "has no eval.json. Make it with: vidgen evaluate" in err


def test_a_model_that_makes_no_numbers_is_named(
    vidgen: Vidgen, tiny_run: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    broken = shutil.copytree(tiny_run, tmp_path / "broken")
    weights = {
        name: torch.full_like(w, float("nan")) for name, w in load_file(broken / EXPORT).items()
    }
    save_file(weights, broken / EXPORT, metadata={"format": "pt", "step": "4"})
    code, _, err = vidgen("evaluate", broken)
    assert code == 1
    assert err.startswith("error: validation_loss came out as nan")
    assert err.count("\n") == 1
    assert json.loads((broken / "eval.json").read_text()) == json.loads(
        (tiny_run / "eval.json").read_text()
    ), "a failed evaluation must leave the last one alone"


def test_report_of_a_real_run(vidgen: Vidgen, tiny_run: Path) -> None:
    code, out, _ = vidgen("report", tiny_run)
    assert (code, out) == (0, f"{tiny_run}/report.html\n")
    page = build_page(RunFolder(str(tiny_run)))
    assert len(page.pairs) == 4
    assert [sample.title for sample in page.samples] == ["real clips", "step 2", "step 4"]
    assert len(page.sample_captions) == 2
    assert page.charts[0].lines[0].name == "train"
    assert len(page.charts[0].lines[0].shown) == 4
    assert {fact.name for fact in page.versions} >= {"vidgen", "torch", "ray"}


def test_all_of_it_from_a_bucket(
    vidgen: Vidgen, tiny_run: Path, s3_bucket: str, tmp_path: Path
) -> None:
    local, away = RunFolder(str(tiny_run)), RunFolder(f"{s3_bucket}/run")
    for stat in local.store.list():
        away.store.write(stat.key, local.store.read(stat.key))
    asked = ["--caption", CAPTION, "--n", "1"]
    for source, out in ((local.url, tmp_path / "here"), (away.url, f"{s3_bucket}/made")):
        assert vidgen("generate", source, *asked, "--out", out)[0] == 0
    made = RunFolder(f"{s3_bucket}/made").store.read("video_000.mp4")
    assert made == (tmp_path / "here" / "video_000.mp4").read_bytes()
    code, out, _ = vidgen("evaluate", away.url, "--clips", "1")
    assert code == 0
    assert "scores of sets (st-stats) need at least 2 clips: left out" in " ".join(out.split())
    assert [s.protocol.n for s in Evaluation.read(away).scores][:1] == [1]
    assert vidgen("report", away.url)[:2] == (0, f"{away.url}/report.html\n")


def test_judged_scores_follow_the_videos(tiny_run: Path) -> None:
    """Real clips judged as if generated: full marks for their own captions, none for others."""
    from vidgen.data.ensure import ensure_dataset
    from vidgen.engine.held_out import HeldOut
    from vidgen.engine.measures import CaptionAgreement, Continuation, Setting
    from vidgen.metrics.score import Subject

    config = RunFolder(str(tiny_run)).config()
    clips = HeldOut(dataset=ensure_dataset(config), config=config, limit=4)
    batch = next(clips.batches(frozenset({"text", "image"})))
    setting = Setting(protocol=clips.protocol(frozenset({"text"})), subject=Subject())

    agreement, continuation = CaptionAgreement(), Continuation()
    for measure in (agreement, continuation):
        measure.update(batch, batch.batch.video)
    scores = {(s.name, s.subject.kind): s.value for s in agreement.scores(setting)}
    assert set(scores.values()) == {1.0}
    scores = {(s.name, s.subject.kind): s.value for s in continuation.scores(setting)}
    assert scores["psnr", "generated"] == 100.0
    assert scores["ssim", "generated"] == pytest.approx(1.0)
    assert scores["ssim", "first frame repeated"] < 0.9

    agreement = CaptionAgreement()
    scene = Scene(colour="white", shape="square", direction="up", speed="slowly", background="gray")
    frames = paint(scene, rng=np.random.default_rng(0), frames=8, height=16, width=16)
    video = torch.from_numpy(frames).permute(3, 0, 1, 2).float().div(127.5).sub(1)
    agreement.update(batch, video.expand_as(batch.batch.video))
    wrong = {s.name: s for s in agreement.scores(setting) if s.subject.kind == "generated"}
    matches = sum(row.caption == scene.caption for row in batch.rows)
    assert wrong["all_right"].value == matches / 4
    low, high = wrong["all_right"].interval or (1, 0)
    assert low <= wrong["all_right"].value <= high

    odd = dataclasses.replace(
        batch, rows=[dataclasses.replace(row, caption="a cat") for row in batch.rows]
    )
    agreement = CaptionAgreement()
    agreement.update(odd, batch.batch.video)
    assert list(agreement.scores(setting)) == []


def test_a_grid_of_samples_has_no_holes_where_it_can() -> None:
    assert {n: columns(n) for n in (1, 2, 4, 6, 7, 8, 9, 12)} == {
        1: 1, 2: 2, 4: 2, 6: 3, 7: 3, 8: 4, 9: 3, 12: 4,
    }  # fmt: skip


def test_numbers_below_histograms_are_short_and_plain() -> None:
    row = {"counts": [1, 2], "min": 0.00268, "median": 29.97, "max": 1080}
    shown = _histogram("source_height", row)
    assert (shown.name, shown.low, shown.middle, shown.high) == (
        "source height", "0.0027", "29.97", "1080",
    )  # fmt: skip
