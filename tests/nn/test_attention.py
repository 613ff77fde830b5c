"""Positions in three dimensions: what rotation must and must not change."""

from __future__ import annotations

import pytest
import torch

from vidgen.nn.attention import Attention, rope_angles, rotate

GRID = (3, 4, 5)
HEAD = 16


@pytest.fixture(scope="module")
def tables() -> tuple[torch.Tensor, torch.Tensor]:
    angles = rope_angles(GRID, HEAD)
    return angles.cos(), angles.sin()


def place(t: int, h: int, w: int) -> int:
    return (t * GRID[1] + h) * GRID[2] + w


@pytest.mark.parametrize("head", [6, 8, 10, 32, 34])
def test_every_axis_gets_channels(head: int) -> None:
    angles = rope_angles(GRID, head)
    assert angles.shape == (60, head // 2)
    for neighbour in (place(1, 0, 0), place(0, 1, 0), place(0, 0, 1)):
        assert not torch.equal(angles[0], angles[neighbour])


def test_rotation_keeps_lengths(tables: tuple[torch.Tensor, torch.Tensor]) -> None:
    x = torch.randn(2, 60, HEAD)
    torch.testing.assert_close(rotate(x, *tables).norm(dim=-1), x.norm(dim=-1))


def test_products_depend_on_distance_alone(tables: tuple[torch.Tensor, torch.Tensor]) -> None:
    query, key = torch.randn(2, HEAD)
    q, k = (rotate(x.expand(60, HEAD), *tables) for x in (query, key))
    products = q @ k.T  # (N, N)
    for step in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 2, 3)):
        here = products[place(0, 0, 0), place(*step)]
        moved = products[place(1, 1, 1), place(*(1 + s for s in step))]
        torch.testing.assert_close(here, moved)


def test_without_rotation_order_does_not_matter() -> None:
    torch.manual_seed(0)
    attention = Attention(32, heads=2)
    x, order = torch.randn(2, 7, 32), torch.randperm(7)
    still = torch.ones(7, 8), torch.zeros(7, 8)
    out = attention(x, *still)
    assert out.shape == x.shape
    torch.testing.assert_close(attention(x[:, order], *still), out[:, order])


def test_rotation_tells_places_apart(tables: tuple[torch.Tensor, torch.Tensor]) -> None:
    torch.manual_seed(0)
    attention = Attention(32, heads=2)
    x, order = torch.randn(1, 60, 32), torch.randperm(60)
    assert not torch.allclose(attention(x[:, order], *tables), attention(x, *tables)[:, order])
