"""A predictor from clips to numbers, beside the last frame repeated."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from engine.command_line import call
from engine.conftest import MakeConfig
from PIL import Image

from vidgen.config.load import dump
from vidgen.data.encode import encode_mp4
from vidgen.data.video import decode


def test_a_predictor_from_clips_to_numbers(
    make_config: MakeConfig, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = make_config(
        name="next",
        data={"frames": 3, "height": 16, "width": 16},
        model={"family": "recurrent", "conditions": ["past"], "past_frames": 3, "width": 8},
        train={"steps": 4, "samples": 2},
        evaluate={"extractors": ["frame-stats"], "training_clips": 0},
    )
    file = tmp_path / "next.yaml"
    file.write_text(dump(config))
    assert call("train", file) == 0
    capfd.readouterr()

    assert call("generate", config.run) == 2
    assert "goes on from a video: give it one; expected --past, of 3 frames" in (
        capfd.readouterr().err
    )
    frames = np.stack([np.full((16, 16, 3), 30 * t, np.uint8) for t in range(6)])
    (tmp_path / "past.mp4").write_bytes(encode_mp4(frames, 8, crf=1))
    out = tmp_path / "out"
    assert call("generate", config.run, "--past", tmp_path / "past.mp4", "--out", out) == 0
    assert len(list(out.glob("*.mp4"))) == 1  # a predictor has one answer
    made = decode(out / "video_000.mp4", fps=8)
    assert made.shape[0] == 3
    sheet = np.asarray(Image.open(out / "contact_sheet.png"))
    assert abs(int(sheet[-12 - 48, 12 + 48, 0]) - 150) < 5  # its last row: the last past frame
    capfd.readouterr()

    assert call("evaluate", config.run, "--json") == 0
    scores = {
        (s["name"], s["subject"]["kind"]): s for s in json.loads(capfd.readouterr().out)["scores"]
    }
    still, own = (scores["mse", kind]["value"] for kind in ("last frame repeated", "generated"))
    share = scores["mse_of_baseline", "generated"]
    assert share["value"] == pytest.approx(own / still)
    assert share["interval"][0] <= share["value"] <= share["interval"][1]
    assert share["better"] == "lower"
    assert ("psnr", "last frame repeated") in scores
