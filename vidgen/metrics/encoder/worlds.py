"""Made-up clips to learn from: textured things that move, fall, slow down, spread and swing.

Each clip has a background seen by a moving camera and some things in front of it. What happens is
known, so that a network can be asked for it: where the camera and the things go, and whether the
clip has a direction in time (things fall and bounce lower each time, slow down, spread and fade;
none of that happens backwards).

Legend: N clips, K things a clip, T frames, S side in pixels. Places are in [-1, 1], y downwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

FRAMES, SIDE = 16, 48
THINGS = 3
EVENTS = ("steady", "wander", "fall", "slow down", "spread", "swing")
TIMELESS = 2  # the first events look alike forwards and backwards
_TEXTURE = 80


@dataclass(frozen=True, kw_only=True)
class Worlds:
    """Clips and what is known of them.

    Attributes:
        video: (N, 3, T, S, S) uint8.
        motion: (N, 6) mean per frame, in units near 1: camera right, down, in, turning; things
            right, down.
        event: (N,) index into EVENTS.
        arrow: (N,) bool: whether time has a direction in it.
    """

    video: Tensor
    motion: Tensor
    event: Tensor
    arrow: Tensor


def make_worlds(n: int, generator: Generator, *, frames: int = FRAMES, side: int = SIDE) -> Worlds:
    """N clips; equal generators give equal clips."""
    g = generator
    event = torch.randint(len(EVENTS), (n,), generator=g)
    place, size, fade = _play(event, frames, g)  # (N, K, T, 2), (N, K, T), (N, K, T)
    camera, zoom, turn = _camera(n, frames, g)  # (N, T, 2), (N, T), (N, T)
    # The camera's move shows in the things too.
    seen = place - 0.6 * camera[:, None]
    video = _background(camera, zoom, turn, side, g)
    grid = _grid(side)
    shown = torch.rand(n, THINGS, generator=g) < torch.tensor([0.95, 0.6, 0.35])
    for k in range(THINGS):
        cover, inner = _cover(seen[:, k], size[:, k], grid, g)
        colour = torch.rand(n, 3, 1, 1, 1, generator=g)
        cover = cover * (fade[:, k, :, None, None] * shown[:, k, None, None, None])[:, None]
        shade = 0.35 * torch.rand(n, 1, 1, 1, 1, generator=g) * inner
        video = video + cover * (colour + shade - video)
    gain = 0.7 + 0.5 * torch.rand(n, 1, 1, 1, 1, generator=g)
    video = _lens(video * gain, g)
    there = shown.float()[..., None]
    moved = ((seen[:, :, -1] - seen[:, :, 0]) * there).sum(1) / there.sum(1).clamp_min(1)
    steps = frames - 1
    motion = torch.cat(
        [
            (camera[:, -1] - camera[:, 0]) / steps * 30,
            (zoom[:, -1] - zoom[:, 0])[:, None] / steps * 60,
            (turn[:, -1] - turn[:, 0])[:, None] / steps * 30,
            moved / steps * 15,
        ],
        1,
    )
    arrow = (event >= TIMELESS) & shown[:, 0]
    return Worlds(
        video=(video * 255).round().clamp(0, 255).to(torch.uint8),
        motion=motion.clamp(-3, 3),
        event=event,
        arrow=arrow,
    )


def _play(event: Tensor, frames: int, g: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Where the things are, how large, and how opaque, over time."""
    n, k = len(event), THINGS
    t = torch.linspace(0, 1, frames)  # (T,)
    start = 1.4 * torch.rand(n, k, 1, 2, generator=g) - 0.7
    speed = torch.randn(n, k, 1, 2, generator=g) * 0.6
    radius = 0.12 + 0.33 * torch.rand(n, k, 1, generator=g)
    size, fade = radius.expand(n, k, frames).clone(), torch.ones(n, k, frames)
    place = start + speed * (t[:, None] - 0.5)  # steady

    def put(name: str, value: Tensor, into: Tensor) -> None:
        rows = event == EVENTS.index(name)
        into[rows] = value[rows]

    walk = torch.randn(n, k, frames, 2, generator=g).cumsum(2)
    smooth = F.avg_pool1d(walk.flatten(0, 1).transpose(1, 2), 5, 1, 2, count_include_pad=False)
    put("wander", start + 0.12 * smooth.transpose(1, 2).view(n, k, frames, 2), place)
    put("fall", _fall(start, speed, radius, frames, g), place)
    rate = 2 + 5 * torch.rand(n, k, 1, 1, generator=g)
    slowing = (1 - torch.exp(-rate * t[:, None])) / rate
    put("slow down", start * 0.7 + 6 * speed.clamp(-0.8, 0.8) * slowing, place)
    # Smoke: out of the middle, up, ever larger and thinner.
    out = torch.randn(n, k, 1, 2, generator=g) * 0.5 - torch.tensor([0.0, 0.4])
    middle = 0.8 * torch.rand(n, 1, 1, 2, generator=g) - 0.4
    spreading = (1 - torch.exp(-3 * t))[:, None]
    put("spread", middle + out * spreading, place)
    put("spread", radius * (0.35 + 1.6 * spreading[:, 0]), size)
    put("spread", (1.1 - t).clamp(0, 1).expand(n, k, frames), fade)
    angle = 2 * math.pi * torch.rand(n, k, 1, 1, generator=g)
    turns = 2 * math.pi * (1 + 1.5 * torch.rand(n, k, 1, 1, generator=g))
    way = F.normalize(torch.randn(n, k, 1, 2, generator=g), dim=-1) * 0.7
    swing = torch.exp(-2.5 * t[:, None]) * torch.cos(turns * t[:, None] + angle)
    put("swing", start * 0.6 + way * swing, place)
    return place, size, fade


def _fall(start: Tensor, speed: Tensor, radius: Tensor, frames: int, g: Generator) -> Tensor:
    """Thrown things: gravity, and a floor that takes a part of every bounce."""
    n, k = start.shape[:2]
    floor = 0.55 + 0.35 * torch.rand(n, k, generator=g) - 0.5 * radius[..., 0]
    weight = 3 + 5 * torch.rand(n, k, generator=g)
    keep = 0.4 + 0.35 * torch.rand(n, k, generator=g)
    y, vy = start[:, :, 0, 1] - 0.4, -torch.rand(n, k, generator=g)
    fine, found = 4, []
    dt = 1 / (frames * fine)
    for tick in range(frames * fine):
        if tick % fine == 0:
            found.append(y)
        vy = vy + weight * dt
        y = y + vy * dt
        hit = (y > floor) & (vy > 0)
        vy = torch.where(hit, -keep * vy, vy)
        y = torch.minimum(y, floor)
    x = start[..., 0] + speed[..., 0] * (torch.linspace(0, 1, frames) - 0.5)  # (N, K, T)
    return torch.stack([x, torch.stack(found, -1)], -1)


def _camera(n: int, frames: int, g: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Pan (N, T, 2), logarithm of the zoom (N, T) and turn (N, T); half of the cameras stand."""
    t = torch.linspace(-0.5, 0.5, frames)

    def some(share: float) -> Tensor:
        return (torch.rand(n, 1, generator=g) < share).float()

    pan = torch.randn(n, 1, 2, generator=g) * 0.45 * some(0.5)[..., None] * t[:, None]
    shake = torch.randn(n, frames, 2, generator=g)
    shake = F.avg_pool1d(shake.transpose(1, 2), 3, 1, 1).transpose(1, 2)
    pan = pan + 0.012 * shake * some(0.3)[..., None]
    zoom = torch.randn(n, 1, generator=g) * 0.3 * some(0.3) * t
    turn = torch.randn(n, 1, generator=g) * 0.4 * some(0.2) * t
    return pan, zoom, turn


def _background(camera: Tensor, zoom: Tensor, turn: Tensor, side: int, g: Generator) -> Tensor:
    """(N, 3, T, S, S) in about [0, 1]: a texture under a moving camera."""
    n, frames = zoom.shape
    texture = _texture(n, g)
    scale = 0.55 * torch.exp(-zoom)
    c, s = scale * turn.cos(), scale * turn.sin()
    rows = [torch.stack([c, -s, 0.55 * camera[..., 0]], -1)]
    rows.append(torch.stack([s, c, 0.55 * camera[..., 1]], -1))
    theta = torch.stack(rows, -2).flatten(0, 1)  # (N T, 2, 3)
    grid = F.affine_grid(theta, [n * frames, 3, side, side], align_corners=False)
    held = texture[:, None].expand(-1, frames, -1, -1, -1).flatten(0, 1)
    seen = F.grid_sample(held, grid, padding_mode="reflection", align_corners=False)
    return seen.view(n, frames, 3, side, side).transpose(1, 2)


def _texture(n: int, g: Generator) -> Tensor:
    """(N, 3, X, X): noise whose power falls with frequency as in photographs; some with edges."""
    x = _TEXTURE
    power = 0.9 + 1.3 * torch.rand(n, 1, 1, 1, generator=g)
    fy, fx = torch.fft.fftfreq(x), torch.fft.rfftfreq(x)
    frequency = (fy[:, None] ** 2 + fx**2).sqrt().clamp_min(1 / x)
    white = torch.fft.rfft2(torch.randn(n, 3, x, x, generator=g))
    field = torch.fft.irfft2(white * frequency**-power, s=(x, x))
    field = (field - field.mean((2, 3), keepdim=True)) / field.std((2, 3), keepdim=True)
    hard = torch.tanh(6 * field)
    field = torch.where(torch.rand(n, 1, 1, 1, generator=g) < 0.35, hard, field)
    mix = torch.randn(n, 3, 3, generator=g) * 0.4 + torch.rand(n, 3, 1, generator=g)
    field = torch.einsum("nij,njhw->nihw", mix, field)
    contrast = 0.04 + 0.16 * torch.rand(n, 1, 1, 1, generator=g)
    return torch.rand(n, 3, 1, 1, generator=g) * 0.8 + 0.1 + contrast * field


def _cover(place: Tensor, size: Tensor, grid: Tensor, g: Generator) -> tuple[Tensor, Tensor]:
    """How far a thing covers each pixel, and its inner shading: (N, 1, T, S, S) each."""
    n, side = len(place), grid.shape[-1]
    x = grid[0] - place[..., 0, None, None]  # (N, T, S, S)
    y = grid[1] - place[..., 1, None, None]
    stretch = 0.7 + 0.6 * torch.rand(n, 1, 1, 1, generator=g)
    x, y = x * stretch, y / stretch
    r = (x * x + y * y).sqrt() + 1e-4
    # cos and sin of multiples of the angle, without the angle.
    c, s = x / r, y / r
    c2, s2 = c * c - s * s, 2 * c * s
    c3, s3 = c2 * c - s2 * s, s2 * c + c2 * s
    a = 0.22 * torch.randn(n, 4, 1, 1, 1, generator=g)
    edge = 1 + a[:, 0] * c2 + a[:, 1] * s2 + a[:, 2] * c3 + a[:, 3] * s3
    gap = size[..., None, None] * edge - r
    cover = (gap * side / 2 + 0.5).clamp(0, 1)
    wave = 3 + 12 * torch.rand(n, 1, 1, 1, generator=g)
    lean = torch.randn(n, 2, 1, 1, 1, generator=g)
    inner = torch.sin(wave * (lean[:, 0] * x + lean[:, 1] * y))
    return cover[:, None], inner[:, None]


def _lens(video: Tensor, g: Generator) -> Tensor:
    """What any camera adds: half of the clips are a little soft, half have a little grain."""
    n = len(video)
    soft = torch.rand(n, 1, 1, 1, 1, generator=g) < 0.5
    blurred = F.avg_pool2d(video.flatten(0, 2)[:, None], 3, 1, 1, count_include_pad=False)
    mix = torch.rand(n, 1, 1, 1, 1, generator=g) * soft
    video = video + mix * (blurred.view(video.shape) - video)
    grain = 0.008 * torch.rand(n, 1, 1, 1, 1, generator=g)
    return video + grain * torch.randn(video.shape, generator=g)


def _grid(side: int) -> Tensor:
    """(2, 1, S, S): x and y of pixel centres."""
    at = (torch.arange(side) + 0.5) / side * 2 - 1
    return torch.stack(torch.meshgrid(at, at, indexing="xy"))[:, None]
