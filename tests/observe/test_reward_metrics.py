"""What a reward run's lines become on the exporter's port."""

from __future__ import annotations

from vidgen.observe.board import Board
from vidgen.observe.reward_metrics import set_rewards


def series(**line: float) -> list[str]:
    board = Board(run="r", rank="0")
    set_rewards(board, line)
    return [text for text in board.text().splitlines() if not text.startswith("#")]


def test_a_step() -> None:
    assert series(loss=0.1, reward=0.4, reward_caption=0.5, reward_motion=0.2, kl=0.03) == [
        'vidgen_reward{part="total",run="r"} 0.4',
        'vidgen_reward{part="caption",run="r"} 0.5',
        'vidgen_reward{part="motion",run="r"} 0.2',
        'vidgen_reward_kl{run="r"} 0.03',
    ]


def test_a_validation_is_held_against_the_start() -> None:
    line = {
        "val_loss": -0.5, "val_reward": 0.5, "val_reward_start": 0.25, "val_reward_caption": 0.5,
        "val_guard_motion": 0.3, "val_guard_motion_start": 0.6, "val_diversity": 0.1,
        "val_diversity_start": 0.2, "val_moved": 0.01,
    }  # fmt: skip
    assert series(**line) == [
        'vidgen_validation_reward{part="total",run="r"} 0.5',
        'vidgen_validation_reward{part="start",run="r"} 0.25',
        'vidgen_validation_reward{part="caption",run="r"} 0.5',
        'vidgen_reward_guard_ratio{part="motion",run="r"} 0.5',
        'vidgen_reward_diversity_ratio{run="r"} 0.5',
        'vidgen_reward_moved{run="r"} 0.01',
    ]


def test_nothing_of_a_run_without_rewards_and_no_share_of_nothing() -> None:
    assert series(loss=0.1, loss_kl=2.0, val_loss=0.2, val_loss_kl=3.0) == []
    assert series(val_guard_motion=0.1, val_guard_motion_start=0.0) == []
