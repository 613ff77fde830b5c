"""Scores carry their protocol, survive JSON, and refuse to be compared across protocols."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from vidgen.errors import EvaluationError
from vidgen.metrics.interval import mean_interval, wilson
from vidgen.metrics.score import Protocol, Score, Subject, check_comparable

PROTOCOL = Protocol(
    n=64, frames=16, height=32, width=32, fps=8.0, resize="area", data="sha256:ab12", split="test",
    conditions=("text", "image"),
)  # fmt: skip
SCORE = Score(
    name="psnr", value=21.5, unit="dB", interval=(20.0, 23.0), protocol=PROTOCOL,
    subject=Subject(run="/runs/a", step=500, guidance=2.0, seed=0),
)  # fmt: skip


def test_json_round_trip() -> None:
    assert Score.from_json(json.loads(json.dumps(SCORE.to_json()))) == SCORE


@pytest.mark.parametrize("broken", [{}, {"name": "psnr"}, {**SCORE.to_json(), "colour": 1}])
def test_other_json_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(EvaluationError, match="not a stored score"):
        Score.from_json(broken)


def test_equal_protocols_compare_whatever_made_the_videos() -> None:
    other = dataclasses.replace(SCORE, value=20.0, subject=Subject(run="/runs/b", step=9, seed=3))
    assert SCORE.minus(other) == pytest.approx(1.5)


CHANGES = {
    "n": 32, "frames": 8, "height": 64, "width": 64, "fps": 4.0, "resize": "bicubic",
    "data": "sha256:ff00", "split": "val", "selection": "captions not in train",
    "conditions": ("text",), "extractor": "judge 2",
}  # fmt: skip


def test_every_field_of_the_protocol_counts() -> None:
    assert set(CHANGES) == {field.name for field in dataclasses.fields(Protocol)}


@pytest.mark.parametrize("key", CHANGES)
def test_different_protocols_are_refused(key: str) -> None:
    protocol = dataclasses.replace(PROTOCOL, **{key: CHANGES[key]})
    with pytest.raises(EvaluationError, match=rf"does not compare: {key} \("):
        SCORE.minus(dataclasses.replace(SCORE, protocol=protocol))


def test_different_scores_are_refused() -> None:
    with pytest.raises(EvaluationError, match="different scores"):
        check_comparable(SCORE, dataclasses.replace(SCORE, name="ssim"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_score_is_finite(value: float) -> None:
    with pytest.raises(EvaluationError, match="came out as"):
        dataclasses.replace(SCORE, value=value)


def test_wilson_matches_published_values() -> None:
    # Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29
    for (k, n), expected in {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }.items():
        assert wilson(k, n) == pytest.approx(expected, abs=5e-5)
    assert wilson(20, 20) == pytest.approx((0.8389, 1.0), abs=5e-5)
    with pytest.raises(ValueError, match="3 of 2"):
        wilson(3, 2)


def test_interval_of_a_mean() -> None:
    # mean 2, standard deviation 1, three values
    assert mean_interval([1.0, 2.0, 3.0]) == pytest.approx(
        (2 - 1.959964 / 3**0.5, 2 + 1.959964 / 3**0.5)
    )
    assert mean_interval([1.0]) is None
    assert mean_interval([1.0, float("nan")]) is None
