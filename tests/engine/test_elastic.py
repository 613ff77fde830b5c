"""Any number of workers trains the same run, also one that does not divide the batch."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from engine.conftest import MakeConfig
from engine.ranks import on_ranks
from engine.test_train import curve, weights

from vidgen.config.run import RunConfig
from vidgen.engine.continuing import prepare_run
from vidgen.engine.distributed import join_ranks
from vidgen.engine.train import run_rank, train
from vidgen.observe.progress import Nobody


def one_of_them(config: RunConfig) -> int:
    """What a Ray Train worker does; the size of the world."""
    with join_ranks() as ranks:
        config = ranks.from_lead(partial(prepare_run, config, None))
        run_rank(config, ranks, lambda: False, Nobody())
        return ranks.world


def test_three_ranks_share_a_batch_of_eight(make_config: MakeConfig, tmp_path: Path) -> None:
    alone = train(make_config(run=str(tmp_path / "alone")))
    config = make_config(
        run=str(tmp_path / "three"),
        scale={"workers": 4, "min_workers": 1},
        train={"accumulate": 2},  # parts of one clip and of two
    )
    assert on_ranks(3, one_of_them, config) == [3] * 3
    for a, b in zip(curve(alone), curve(str(config.run)), strict=True):
        assert a == pytest.approx(b, rel=2e-3)
    for name, value in weights(alone).items():
        other = weights(str(config.run))[name]
        assert value.numpy() == pytest.approx(other.numpy(), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize(
    ("scale", "train", "words"),
    [
        ({"workers": 2, "min_workers": 3}, {}, "min_workers 3 is more than scale.workers 2"),
        ({"workers": 3}, {}, "must be divisible"),
        (
            {"workers": 5, "min_workers": 1},
            {"accumulate": 2},
            "8 is less than workers x accumulate",
        ),
    ],
)
def test_what_cannot_be_shared_is_refused(
    make_config: MakeConfig, scale: dict[str, int], train: dict[str, int], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        make_config(scale=scale, train=train)
