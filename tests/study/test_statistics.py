"""Ranking and agreement against worked examples."""

from __future__ import annotations

import math
import random

import pytest

from vidgen.study.consent import alpha, nominal, squared
from vidgen.study.ranking import PRIOR, bradley_terry


def test_two_systems_have_the_closed_form() -> None:
    """Strengths of two are in the ratio of their wins."""
    found = bradley_terry(["a", "b"], {("a", "b"): 30, ("b", "a"): 10})
    expected = 400 * math.log10((30 + PRIOR / 2) / (10 + PRIOR / 2))
    assert found["a"] - found["b"] == pytest.approx(expected, abs=1e-4)
    assert found["a"] + found["b"] == pytest.approx(0, abs=1e-6)


def test_planted_strengths_are_found() -> None:
    planted = {"a": 150.0, "b": 40.0, "c": -30.0, "d": -160.0}
    chooser = random.Random(0)
    wins: dict[tuple[str, str], float] = {}
    for i in planted:
        for j in planted:
            if i < j:
                chance = 1 / (1 + 10 ** ((planted[j] - planted[i]) / 400))
                won = sum(chooser.random() < chance for _ in range(2000))
                wins[i, j], wins[j, i] = won, 2000 - won
    assert bradley_terry(list(planted), wins) == pytest.approx(planted, abs=15)


def test_a_system_that_always_wins_stays_finite() -> None:
    found = bradley_terry(["a", "b", "c"], {("a", "b"): 9, ("a", "c"): 9, ("b", "c"): 9})
    assert math.isfinite(found["a"])
    assert found["a"] > found["b"] > found["c"]


def test_krippendorffs_own_example() -> None:
    """Data of Krippendorff 2011, section C: four observers, twelve units, missing values."""
    rows = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    ]
    units = [[v for v in column if v is not None] for column in zip(*rows, strict=True)]
    assert alpha(units, nominal) == pytest.approx(0.743, abs=5e-4)
    assert alpha(units, squared) == pytest.approx(0.849, abs=5e-4)


def test_alpha_of_agreement_chance_and_nothing() -> None:
    assert alpha([[1, 1], [0, 0], [1, 1]], nominal) == 1
    chooser = random.Random(0)
    chance = [[chooser.randrange(2), chooser.randrange(2)] for _ in range(4000)]
    assert alpha(chance, nominal) == pytest.approx(0, abs=0.05)
    assert alpha([[1], [0]], nominal) is None
    assert alpha([[1, 1], [1, 1]], nominal) is None
