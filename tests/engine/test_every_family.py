"""What the engine promises for each family: resuming changes no bit, nor does another rank much."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from engine.conftest import config_on
from engine.ranks import on_ranks
from models.tiny import TINY
from safetensors.torch import load

from vidgen.config.families import config_class
from vidgen.config.run import RunConfig
from vidgen.engine.train import train
from vidgen.errors import Diverged, Interrupted
from vidgen.storage.run_folder import EXPORT, RunFolder

FAMILIES = sorted(TINY)


def family_config(family: str, clips: Path, folder: Path, **train_keys: Any) -> RunConfig:
    """Four steps of a family's tiny model, on clips of 4 frames, or 2 after 2."""
    model = {"family": family, **TINY[family]}
    needs = sorted(config_class(family).needs)
    model["conditions"] = needs or [c for c in model.get("conditions", []) if c != "image"]
    model.pop("past_frames", None)
    frames = 4
    if "past" in needs:
        model["past_frames"], frames = 2, 4
    if family in ("flow", "autoregressive"):
        model["condition_dropout"] = 0.3  # draws that must not depend on ranks
    codec = model.pop("codec", None)
    if codec is not None:
        model["codec"] = {"run": str(codec_run(clips, folder, codec["model"]))}
    return config_on(
        clips,
        folder,
        data={"frames": frames},
        model=model,
        train={
            "steps": 4, "batch_size": 4, "checkpoint_every": 2, "validate_every": 0,
            "sample_every": 0, "samples": 1, **train_keys,
        },
    )  # fmt: skip


def codec_run(clips: Path, folder: Path, model: dict[str, Any]) -> Path:
    """A codec of one step."""
    run = folder / "codec"
    if not (run / EXPORT).exists():
        keys = {"steps": 1, "validate_every": 0, "sample_every": 0, "samples": 1}
        train(config_on(clips, folder, run=str(run), model={"conditions": [], **model}, train=keys))
    return run


def weights(url: str) -> dict[str, torch.Tensor]:
    return load(RunFolder(url).store.read(EXPORT))


def train_as_rank(config: RunConfig) -> None:
    train(config)


@pytest.mark.parametrize("family", FAMILIES)
def test_resuming_changes_no_bit(family: str, clips: Path, tmp_path: Path) -> None:
    whole = family_config(family, clips, tmp_path)
    straight = weights(train(whole.model_copy(update={"run": str(tmp_path / "whole")})))
    parts = whole.model_copy(update={"run": str(tmp_path / "parts")})
    shorter = parts.train.model_copy(update={"steps": 2})
    # The schedule knows the number of steps: the first half is that of the whole run, stopped.
    from vidgen.engine import loop

    real = loop._Run.after
    with pytest.MonkeyPatch.context() as patch:

        def stop_after(self: Any, wishes: set[str], *, last: bool) -> bool:
            return real(
                self, wishes | ({"stop"} if self.state.step == shorter.steps else set()), last=last
            )

        patch.setattr(loop._Run, "after", stop_after)
        with pytest.raises(Interrupted):
            train(parts)
    resumed = weights(train(parts))
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_two_ranks_learn_what_one_does(family: str, clips: Path, tmp_path: Path) -> None:
    config = family_config(family, clips, tmp_path)
    # Adam's first steps are as long for a gradient that is rounding noise as for any other.
    plain = config.optimizer.model_copy(update={"name": "sgd", "lr": 0.05})
    config = config.model_copy(update={"optimizer": plain})
    one = weights(train(config.model_copy(update={"run": str(tmp_path / "one")})))
    run = str(tmp_path / "two")
    on_ranks(2, train_as_rank, config.model_copy(update={"run": run}))
    two = weights(run)
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("family", ["gan", "recurrent"])
def test_a_loss_that_is_no_number_names_step_and_clips(
    family: str, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = family_config(family, clips, tmp_path)
    import importlib

    module = importlib.import_module(f"vidgen.models.{family}.objective")
    kind = type(module.build(config.model, _spec(config)))
    real = kind.loss

    def explode(self: Any, turn: str, batch: Any, step: int) -> Any:
        losses = real(self, turn, batch, step)
        if step == 2:
            object.__setattr__(losses, "total", losses.total * float("nan"))
        return losses

    monkeypatch.setattr(kind, "loss", explode)
    with pytest.raises(Diverged, match=r"finite number at step 3, on .*mp4.*last checkpoint"):
        train(config)
    assert RunFolder(str(config.run)).checkpoint_steps() == [2]


def _spec(config: RunConfig) -> Any:
    from vidgen.models.base import VideoSpec

    return VideoSpec(frames=config.data.frames, height=8, width=8, classes=2)
