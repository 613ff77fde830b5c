"""vidgen-clip: a small network that looks at space and time, trained on made-up clips alone.

It learned to tell what was done to a clip (noise, blur, frames out of order, freezing, flicker and
more), what moves where, what happens, and which caption belongs to it; see metrics/encoder/. Its
weights (1.2 MB) come with the package. It has seen no real video, and on real ones it is a weaker
ruler than st-stats; docs/evaluation.md has the numbers.

Legend: B batch, T frames, C channels, S side in pixels, D feature size.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from vidgen.metrics.features.base import Extractor, InputSpec

SIDE, DIM = 48, 128
WIDTHS = (40, 72, 104, 136)
PROFILE = 28  # numbers of `profile`
MOVES = 20  # of the first of them, channels that look at motion alone


class Space(nn.Module):
    """A convolution over each frame alone that halves its sides; (B T, C, S, S) in and out."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outside)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.norm(self.conv(x)))


class Time(nn.Module):
    """A convolution over three frames in one place, added to the frames themselves."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3 * width, width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """(B T, C, S, S) in and out; the first and the last frame count as their own neighbour."""
        at = torch.arange(len(x), device=x.device).view(-1, frames)  # (B, T)
        before, after = at[:, [0, *range(frames - 1)]], at[:, [*range(1, frames), frames - 1]]
        near = torch.cat([x[before.flatten()], x, x[after.flatten()]], 1)  # (B T, 3 C, S, S)
        return x + F.silu(self.norm(self.conv(near)))


class Stage(nn.Module):
    """Space, then time; may halve the frame rate."""

    def __init__(self, inside: int, outside: int, *, times: int = 1, halve: bool = True) -> None:
        super().__init__()
        self.halve = halve
        self.space = Space(inside, outside)
        self.times = nn.ModuleList([Time(outside) for _ in range(times)])

    def forward(self, x: Tensor, frames: int) -> tuple[Tensor, int]:
        x = self.space(x)
        for each in self.times:
            x = each(x, frames)
        if self.halve and frames > 1:
            pairs = x.view(-1, frames, *x.shape[1:])[:, : frames // 2 * 2]
            frames //= 2
            x = pairs.reshape(-1, 2, *x.shape[1:]).mean(1)
        return x, frames


class Network(nn.Module):
    """(B, 3, T, 48, 48) in [0, 1] to (B, D)."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c, d = WIDTHS
        # Apart, so that the loud colours do not drown the faint traces of motion.
        self.look = nn.Conv2d(3, a - MOVES, 6, stride=4, padding=1, bias=False)
        self.move = nn.Conv2d(5, MOVES, 6, stride=4, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(a)
        self.first = Time(a)
        self.stages = nn.ModuleList([Stage(a, b, times=2, halve=False), Stage(b, c), Stage(c, d)])
        pooled = 2 * (8 + sum(WIDTHS)) + PROFILE
        # Averages differ in size by orders of magnitude, and small ones say as much as large ones.
        self.head = nn.Sequential(
            nn.BatchNorm1d(pooled, affine=False), nn.Linear(pooled, 256), nn.SiLU(),
            nn.Linear(256, DIM),
        )  # fmt: skip

    def maps(self, video: Tensor) -> list[Tensor]:
        """Features in place, (B, T', C, S', S') of four scales: 12, 6, 3 and 2 to a side."""
        return self._maps(seen(video), len(video))

    def _maps(self, x: Tensor, b: int) -> list[Tensor]:
        """Of what is seen, (B T, 8, S, S)."""
        frames = len(x) // b
        x = torch.cat([self.look(x[:, :3]), self.move(x[:, 3:])], 1)
        x = self.first(F.silu(self.stem_norm(x)), frames)  # (B T, C, S/4, S/4)
        found = [x.view(b, frames, *x.shape[1:])]
        for stage in self.stages:
            x, frames = stage(x, frames)
            found.append(x.view(b, frames, *x.shape[1:]))
        return found

    def pooled(self, video: Tensor) -> Tensor:
        """(B, P): of every scale the mean, and how uneven it is over places and times."""
        x = seen(video)
        found = []
        for each in (x.view(len(video), -1, *x.shape[1:]), *self._maps(x, len(video))):
            mean = each.mean((1, 3, 4))
            spread = (each - mean[:, None, :, None, None]).square().mean((1, 3, 4))
            found += [mean, (spread + 1e-6).sqrt()]
        return torch.cat([*found, profile(video)], 1)

    def forward(self, video: Tensor) -> Tensor:
        features: Tensor = self.head(self.pooled(video))
        return features


def seen(video: Tensor) -> Tensor:
    """(B T, 8, S, S) of (B, 3, T, S, S) in [0, 1]: colours; how brightness changes towards the next
    frame; that times its slope across and down, whose sign says which way things move, at two
    scales."""
    luma = 0.299 * video[:, 0] + 0.587 * video[:, 1] + 0.114 * video[:, 2]  # (B, T, S, S)
    products = []
    for scale in (1, 2):
        y = F.avg_pool2d(luma, scale) if scale > 1 else luma
        change = torch.cat([y[:, 1:], y[:, -1:]], 1) - y
        across, down = torch.gradient(y, dim=(3, 2))
        for slope in (across, down):
            p = slope * change
            p = p / (p.abs() + 1e-4).sqrt()
            products.append(F.interpolate(p, scale_factor=scale) if scale > 1 else p)
        if scale == 1:
            products.insert(0, 0.7 * change)
    x = torch.cat([4 * video - 2, 12 * torch.stack(products, 1)], 1)
    frames = x.transpose(1, 2).flatten(0, 1)
    return frames.contiguous(memory_format=torch.channels_last)


def profile(video: Tensor) -> Tensor:
    """(B, 28) of (B, 3, T, S, S): how strong and how even changes and details are, as logarithms.

    Of such energies a network learns much faster than from pixels: they say at once whether a clip
    is noisy, soft, still, jumping or flickering.
    """
    luma = 0.299 * video[:, 0] + 0.587 * video[:, 1] + 0.114 * video[:, 2]  # (B, T, S, S)
    parts = []
    for scale in (1, 2):
        y = F.avg_pool2d(luma, scale)
        step = y.diff(dim=1)
        energy = step.square().mean((2, 3))  # (B, T - 1)
        level = _log(energy)
        parts += [level.mean(1), level.std(1), level.amin(1), level.amax(1)]
        # 1: the picture goes on as it went; -1: it goes back.
        on = (step[:, 1:] * step[:, :-1]).mean((2, 3))
        on = on / ((energy[:, 1:] * energy[:, :-1]).sqrt() + 1e-6)
        parts += [on.mean(1), on.amin(1)]
        further = _log((y[:, 2:] - y[:, :-2]).square().mean((1, 2, 3)))
        parts += [further - _log(energy.mean(1))]
        for x in (y, step):
            fine = x - F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
            strength = _log(fine.square().mean((2, 3)))
            parts += [strength.mean(1), strength.std(1)]
        fine = y - F.avg_pool2d(y, 3, 1, 1, count_include_pad=False)
        parts += [_log(fine.abs().mean((1, 2, 3)).square()) - _log(fine.square().mean((1, 2, 3)))]
    brightness = luma.mean((2, 3))  # (B, T)
    tint = video.mean((3, 4))  # (B, 3, T)
    parts += [_log(brightness.diff(dim=1).square().mean(1))]
    parts += [_log(brightness.diff(n=2, dim=1).square().mean(1))]
    parts += [_log((tint[..., -1] - tint[..., 0]).square().mean(1))]
    parts += [_log((tint - tint.mean(1, keepdim=True)).square().mean((1, 2)))]
    return torch.stack(parts, 1)


def odd(video: Tensor) -> Tensor:
    """(B, 6) of (B, 3, T, S, S): numbers that change sign when time runs backwards.

    Which way things go (right, down, outwards), and whether changes and contrast grow over time:
    things slow down, spread and fade far more often than the other way round.
    """
    luma = 0.299 * video[:, 0] + 0.587 * video[:, 1] + 0.114 * video[:, 2]
    y = F.avg_pool2d(luma, 2)  # (B, T, S/2, S/2)
    step, middle = y.diff(dim=1), (y[:, 1:] + y[:, :-1]) / 2
    across, down = torch.gradient(middle, dim=(3, 2))
    slope = (across.square() + down.square()).mean((1, 2, 3)) + 1e-5
    place = torch.linspace(-1, 1, y.shape[-1], device=video.device)
    u, v = -across * step, -down * step
    ways = (u, v, u * place + v * place[:, None])
    found = [way.mean((1, 2, 3)) / slope for way in ways]
    for energy in (step.square().mean((2, 3)), y.var(dim=(2, 3)), step.abs().amax((2, 3))):
        level = _log(energy)
        time = torch.linspace(-1, 1, level.shape[1], device=video.device)
        found.append((level * time).mean(1))
    return torch.stack(found, 1)


def _log(energy: Tensor) -> Tensor:
    return torch.log2(energy + 1e-7)


class VidgenClip(Extractor):
    """What the network answers to the questions it learned from, and what time alone turns round.

    Answers: how strong each damage is, the direction of time, motion, event, layout; each in units
    of its spread over undamaged clips, so that no axis drowns the others.
    """

    mean: Tensor
    mix: Tensor
    name: ClassVar[str] = "vidgen-clip"
    version: ClassVar[str] = "1"

    def __init__(self, path: Path, weights_hash: str) -> None:
        super().__init__()
        self.input = InputSpec(size=(SIDE, SIDE), least_frames=4)
        weights = {k: v.float() for k, v in load_file(path).items()}
        self.net = Network()
        self.register_buffer("mean", torch.zeros_like(weights["mean"]))
        self.register_buffer("mix", torch.zeros_like(weights["mix"]))
        self.load_state_dict(weights, strict=False)  # batch norms count batches, which is not kept
        self.dim = self.mix.shape[1]
        self.weights_hash = weights_hash
        self.eval().requires_grad_(False)

    def extract(self, video: Tensor) -> Tensor:
        found = torch.cat([self.net(video), odd(video)], 1)
        features: Tensor = (found - self.mean) @ self.mix
        return features
