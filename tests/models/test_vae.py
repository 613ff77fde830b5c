"""What only the vae family promises: pieces equal the whole, sizes, statistics, tokens."""

from __future__ import annotations

import pytest
import torch
from models.tiny import tiny_batch, tiny_config
from pydantic import ValidationError

from vidgen.errors import ModelError
from vidgen.models.base import build_objective
from vidgen.models.vae.model import VaeModel
from vidgen.models.vae.objective import VaeObjective
from vidgen.nn.causal import CausalConv3d, fold, unfold
from vidgen.nn.quantise import FiniteScalars
from vidgen.nn.waves import slow_waves


def vae(**model: object) -> VaeObjective:
    """With weights where there were zeros."""
    torch.manual_seed(0)
    objective = build_objective(tiny_config("vae", **model))
    assert isinstance(objective, VaeObjective)
    for weight in objective.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.1)
    return objective


def test_boxes_come_back() -> None:
    video = torch.randn(2, 3, 4, 6, 8)
    rows = fold(video, (2, 3, 4))
    assert rows.shape == (2, 3 * 24, 2, 2, 2)
    assert torch.equal(rows[0, :, 0, 0, 0], video[0, :, :2, :3, :4].flatten())
    assert torch.equal(unfold(rows, (2, 3, 4)), video)


def test_a_causal_convolution_sees_no_later_frame() -> None:
    torch.manual_seed(0)
    layer = CausalConv3d(2, 3)
    video = torch.randn(1, 2, 6, 4, 4)
    changed = video.clone()
    changed[:, :, 4:] += 1
    assert torch.equal(layer(video)[:, :, :4], layer(changed)[:, :, :4])
    assert not torch.equal(layer(video)[:, :, 4], layer(changed)[:, :, 4])


def test_more_kinds_of_tokens_than_can_be_counted() -> None:
    with pytest.raises(ValidationError, match="kinds of tokens; at most 2147483648"):
        tiny_config("vae", levels=[8] * 24)


def test_waves_are_orthogonal_and_slowest_first() -> None:
    waves = slow_waves(3, (2, 4, 4), 20)
    torch.testing.assert_close(waves @ waves.T, 32 * torch.eye(20), rtol=0, atol=1e-4)
    assert torch.equal(waves[:3], torch.eye(3).repeat_interleave(32, 1))  # mean colours
    assert not slow_waves(1, (1, 1, 2), 3)[2].any()  # two pixels have no third wave


@torch.no_grad()
def test_training_starts_from_a_small_copy_of_the_video() -> None:
    torch.manual_seed(0)
    model = build_objective(tiny_config("vae", latent_channels=3)).model.eval()
    assert isinstance(model, VaeModel)
    video = torch.rand(2, 3, 4, 8, 8) * 2 - 1
    box = fold(video, model.factors).unflatten(1, (3, -1)).mean(2)
    torch.testing.assert_close(model.pack(video), box)
    flat = box.repeat_interleave(2, 2).repeat_interleave(4, 3).repeat_interleave(4, 4)
    torch.testing.assert_close(model.unpack(box), flat)


@pytest.mark.parametrize("levels", [[], [5, 4]])
@pytest.mark.parametrize("chunk", [2, 4, 6])
@torch.no_grad()
def test_pieces_equal_the_whole(levels: list[int], chunk: int) -> None:
    """Any length, also one that the pieces do not divide."""
    model = vae(levels=levels).model.eval()
    video = torch.rand(2, 3, 20, 8, 8) * 2 - 1
    whole, pieces = model.encode(video), model.encode(video, chunk=chunk)
    assert whole.shape == (2, model.latent_channels, 10, 2, 2)
    torch.testing.assert_close(pieces, whole, rtol=0, atol=1e-4)
    torch.testing.assert_close(
        model.decode(whole, chunk=chunk), model.decode(whole), rtol=0, atol=1e-4
    )


def test_refuses_sizes_that_its_boxes_do_not_divide() -> None:
    model = vae().model
    for shape, says in (
        ((3, 8, 8), "3 frames; expected a multiple of 2"),
        ((4, 10, 8), "10 rows; expected a multiple of 4"),
        ((4, 8, 6), "6 columns; expected a multiple of 4"),
    ):
        with pytest.raises(ModelError, match=says):
            model.encode(torch.zeros(1, 3, *shape))
    with pytest.raises(ModelError, match="3 frames at a time; expected a multiple of 2"):
        model.encode(torch.zeros(1, 3, 4, 8, 8), chunk=3)
    with pytest.raises(ValidationError, match=r"data\.height 8 must be a multiple of the vae's 16"):
        tiny_config("vae", patch=[1, 8, 8])
    with pytest.raises(ValidationError, match="widths need as many blocks"):
        tiny_config("vae", blocks=[1])


def test_calibrated_latents_are_normal() -> None:
    objective = vae()
    model, config = objective.model, tiny_config("vae")
    batches = [tiny_batch(config, seed=seed) for seed in range(3)]
    video = torch.cat([batch.video for batch in batches])
    before = model.decode(model.encode(video))
    model.calibrate(batches)
    latents = model.encode(video).transpose(0, 1).flatten(1)
    torch.testing.assert_close(latents.mean(1), torch.zeros(len(latents)), rtol=0, atol=1e-4)
    torch.testing.assert_close(latents.std(1), torch.ones(len(latents)), rtol=0, atol=1e-2)
    torch.testing.assert_close(model.decode(model.encode(video)), before, rtol=1e-3, atol=1e-4)
    assert {"mean", "std"} <= set(model.state_dict())


def test_noise_of_training_is_the_samples_own() -> None:
    objective, batch = vae().train(), tiny_batch(tiny_config("vae"))
    whole = objective.show(batch, 0).made
    torch.testing.assert_close(objective.show(batch[2:], 0).made, whole[2:], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(objective.eval().show(batch, 0).made, whole, atol=1e-4)


def test_every_token_is_reached_and_comes_back() -> None:
    quantise = FiniteScalars((8, 5, 4, 3))
    codes = torch.arange(quantise.size).view(1, -1)
    levels = quantise.levels(codes)
    assert (levels.min(), levels.max()) == (-1, 1)
    assert levels.unique(dim=2).shape[2] == quantise.size
    x = 1.5 * torch.randn(3, 4, 3000)
    torch.testing.assert_close(quantise.levels(quantise.codes(x)), quantise(x), rtol=0, atol=1e-5)
    assert len(quantise.codes(x).unique()) > 0.9 * quantise.size
    x.requires_grad_()
    quantise(x).sum().backward()
    assert x.grad is not None
    assert (x.grad > 0).any()


def test_aims_at_the_nearest_level() -> None:
    quantise = FiniteScalars((8, 5, 2))
    seeded = torch.Generator().manual_seed(0)  # half way between two levels either may be nearest
    wish = torch.rand(2, 3, 50, generator=seeded) * 2 - 1
    grid = [torch.linspace(-1, 1, count) for count in (8, 5, 2)]
    pairs = zip(grid, wish.unbind(1), strict=True)
    nearest = [g[(w[..., None] - g).abs().argmin(-1)] for g, w in pairs]
    torch.testing.assert_close(quantise(quantise.aim(wish)), torch.stack(nearest, 1))


def test_a_video_goes_through_tokens_as_through_latents() -> None:
    model = vae(levels=[5, 4]).model.eval()
    video = torch.rand(2, 3, 4, 8, 8) * 2 - 1
    codes = model.encode_codes(video)
    assert codes.shape == (2, 2, 2, 2)
    assert codes.max() < model.codes == 20
    torch.testing.assert_close(
        model.decode_codes(codes), model.decode(model.encode(video)), rtol=0, atol=1e-5
    )
    plain = vae().model
    assert isinstance(plain, VaeModel)
    with pytest.raises(ModelError, match="has no tokens"):
        plain.encode_codes(video)
