"""Condition encoders: what a sample's encoding may depend on."""

from __future__ import annotations

import pytest
import torch

from vidgen.nn.conditions import LabelEmbedding, TextEncoder, TimeEmbedding
from vidgen.types import encode_text


@pytest.fixture
def encoder() -> TextEncoder:
    torch.manual_seed(0)
    return TextEncoder(width=16, tokens=3, out=24)


def test_text_shapes(encoder: TextEncoder) -> None:
    tokens, vector = encoder(encode_text(["a red circle", "ein grüner Kreis", ""]))
    assert tokens.shape == (3, 3, 24)
    assert vector.shape == (3, 24)


def test_padding_and_company_change_nothing(encoder: TextEncoder) -> None:
    captions = ["up", "a blue square moving right quickly on a gray background", ""]
    together = encoder(encode_text(captions, 128))
    for row, caption in enumerate(captions):
        alone = encoder(encode_text([caption], 64))
        for whole, part in zip(together, alone, strict=True):
            torch.testing.assert_close(whole[row : row + 1], part, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("captions", [["a red circle"] * 5, ["up", "a", "up", "", "a"], ["a"]])
def test_many_videos_of_a_caption(encoder: TextEncoder, captions: list[str]) -> None:
    text = encode_text(captions)
    learning = encoder(text)
    with torch.no_grad():
        reading = encoder(text)
    for one, other in zip(learning, reading, strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(one.detach(), other, rtol=1e-5, atol=1e-5)


def test_every_word_counts(encoder: TextEncoder) -> None:
    _, vectors = encoder(encode_text(["a red circle", "a red square", "a blue circle", ""]))
    assert torch.cdist(vectors, vectors)[~torch.eye(4, dtype=torch.bool)].min() > 0.05


def test_no_caption_is_a_constant(encoder: TextEncoder) -> None:
    tokens, vector = encoder(torch.zeros(2, 9, dtype=torch.int64))
    assert torch.isfinite(tokens).all()
    assert torch.equal(vector[0], vector[1])


def test_no_label_is_zero() -> None:
    out = LabelEmbedding(3, 8)(torch.tensor([2, -1, 2]))
    assert torch.equal(out[0], out[2])
    assert out[0].abs().sum() > 0
    assert not out[1].any()


def test_times_stay_apart() -> None:
    torch.manual_seed(0)
    out = TimeEmbedding(32)(torch.tensor([0.0, 0.01, 0.5, 1.0]))
    assert out.shape == (4, 32)
    assert torch.cdist(out, out)[~torch.eye(4, dtype=torch.bool)].min() > 1e-3
