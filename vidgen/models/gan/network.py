"""Generator and discriminator of the gan family.

B batch, C channels, T frames, H height, W width; Z noise numbers, E numbers of a condition,
L levels, each of half the size of the next.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidgen.models.base import VideoSpec
from vidgen.models.gan.config import Config
from vidgen.nn.causal import fold, unfold
from vidgen.nn.conditions import LabelEmbedding, TextEncoder
from vidgen.nn.conv import ChannelNorm
from vidgen.types import Condition

_UNMADE = -2.0  # of masks, at first: mostly the picture shows


class ConditionVector(nn.Module):
    """Caption and label as one vector, (B, E); what is not given adds nothing."""

    def __init__(self, config: Config, spec: VideoSpec) -> None:
        super().__init__()
        self.width = config.condition_width
        self.text = self.label = None
        if "text" in config.conditions:
            self.text = TextEncoder(width=config.text_width, tokens=1, out=self.width)
        if "label" in config.conditions:
            self.label = LabelEmbedding(spec.classes, self.width)

    def forward(self, cond: Condition, n: int, device: torch.device) -> Tensor:
        vector = torch.zeros(n, self.width, device=device)
        if self.text is not None and cond.text is not None:
            words, sentence = self.text(cond.text)
            vector = vector + sentence + words[:, 0]
        if self.label is not None and cond.label is not None:
            vector = vector + self.label(cond.label)
        return vector


class Generator(nn.Module):
    """Noise and condition to a clip. Every level can show its clip; the finest shown counts.

    A clip that a picture is to begin is that picture, moved on from frame to frame, except where a
    mask shows what is made (as the foreground of arXiv:1609.02612).
    """

    def __init__(self, config: Config, spec: VideoSpec) -> None:
        super().__init__()
        self.patch, widths = config.patch, config.widths
        self.base = _base(config, spec)
        self.condition = ConditionVector(config, spec)
        style = config.noise + config.condition_width
        self.enter = nn.Linear(style, widths[0] * math.prod(self.base))
        self.levels = nn.ModuleList(
            StyledLevel(inputs, width, style, double=n > 0)
            for n, (inputs, width) in enumerate(zip((widths[0], *widths), widths, strict=False))
        )
        self.images = nn.ModuleList(
            nn.Conv2d(spec.channels * config.patch[1] * config.patch[2], width, 1)
            for width in (widths if "image" in config.conditions else ())
        )
        self.motion = None
        shown = spec.channels
        if "image" in config.conditions:
            shown += 1  # the mask
            self.motion = nn.Conv3d(widths[0], 2, 1)
            nn.init.zeros_(self.motion.weight)
            nn.init.zeros_(self.motion.bias)  # type: ignore[arg-type]  # it has one
        self.shows = nn.ModuleList(
            nn.Conv3d(width, shown * math.prod(config.patch), 1)
            if _seen(n, config)
            else nn.Identity()
            for n, width in enumerate(widths)
        )

    def forward(self, noise: Tensor, cond: Condition, level: int, fade: float) -> Tensor:
        """(B, Z) to (B, C, T', H', W') in [-1, 1], the size of `level`.

        Args:
            fade: 1: this level alone; below: the rest of the way from the level before.
        """
        told = self.condition(cond, len(noise), noise.device)
        style = torch.cat([F.rms_norm(noise, noise.shape[-1:]), told], 1)
        x = self.enter(style).unflatten(1, (-1, *self.base))  # (B, D, t, h, w)
        coarse = coarsest = x
        for n in range(level + 1):
            coarse = x
            x = self.levels[n](x, style)
            if len(self.images) and cond.image is not None:
                x = x + self._image(cond.image, x, n)[:, :, None]
            if n == 0:
                coarsest = x
        motion = None if self.motion is None else self.motion(coarsest)
        video = self.show(x, cond, level, motion)
        if fade < 1 and level:
            before = self.show(coarse, cond, level - 1, motion)
            video = torch.lerp(_doubled(before), video, fade)
        return video.float()

    def show(self, x: Tensor, cond: Condition, level: int, motion: Tensor | None) -> Tensor:
        """The clip that a level shows.

        Args:
            motion: how the picture moves from a frame to the next, (B, 2, t, h, w), as in `_moved`.
        """
        shown = unfold(self.shows[level](x), self.patch)
        if motion is None:
            return torch.tanh(shown)
        video, mask = torch.tanh(shown[:, :-1]), torch.sigmoid(shown[:, -1:] + _UNMADE)
        if cond.image is None:
            return video
        return torch.lerp(_moved(cond.image, motion, video.shape[2:]).to(video.dtype), video, mask)

    def _image(self, image: Tensor, x: Tensor, level: int) -> Tensor:
        """What the first picture adds to a level's features, (B, D, h, w)."""
        _, b, c = self.patch
        size = (x.shape[3] * b, x.shape[4] * c)
        small = F.adaptive_avg_pool2d(image, size)[:, :, None]
        found: Tensor = self.images[level](fold(small, (1, b, c))[:, :, 0])
        return found


class StyledLevel(nn.Module):
    """Two 3D convolutions whose features the style scales and shifts, beside a straight way.

    With `double` time, height and width double between the two: the wide one works on few places.
    """

    def __init__(self, inputs: int, width: int, style: int, *, double: bool) -> None:
        super().__init__()
        self.doubles = double  # Module has a method of the shorter name
        self.straight = nn.Conv3d(inputs, width, 1) if inputs != width else nn.Identity()
        self.conv1 = nn.Conv3d(inputs, width, 3, padding=1)
        self.conv2 = nn.Conv3d(width, width, 3, padding=1)
        self.norm1, self.norm2 = ChannelNorm(width), ChannelNorm(width)
        self.style = nn.Linear(style, 4 * width)
        nn.init.normal_(self.style.weight, std=0.1)
        nn.init.zeros_(self.style.bias)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """(B, I, t, h, w) to (B, D, t, h, w), or twice as large, given (B, S)."""
        scale1, shift1, scale2, shift2 = self.style(style)[..., None, None, None].chunk(4, 1)
        y = F.leaky_relu(self.norm1(self.conv1(x)) * (1 + scale1) + shift1, 0.2)
        x = self.straight(x)
        if self.doubles:
            x, y = _doubled(x), _doubled(y)
        y = F.leaky_relu(self.norm2(self.conv2(y)) * (1 + scale2) + shift2, 0.2)
        out: Tensor = (x + y) * 0.7071
        return out


class Discriminator(nn.Module):
    """A clip, and what it should show, to a mark: linear in the clip's features and in their
    product with the condition's (projection, arXiv:1802.05637). No norms: penalties look at one
    sample at a time."""

    def __init__(self, config: Config, spec: VideoSpec) -> None:
        super().__init__()
        self.patch = config.patch
        widths = config.critic_widths or config.widths
        self.image = "image" in config.conditions
        channels = spec.channels * (2 if self.image else 1)
        self.condition = ConditionVector(config, spec)
        self.enters = nn.ModuleList(
            nn.Conv3d(channels * math.prod(config.patch), width, 1)
            if _seen(n, config)
            else nn.Identity()
            for n, width in enumerate(widths)
        )
        self.levels = nn.ModuleList(
            PlainLevel(width, out, halve=n > 0)
            for n, (width, out) in enumerate(zip(widths, (widths[0], *widths), strict=False))
        )
        features = widths[0] * math.prod(_base(config, spec))
        self.leave = nn.Linear(features, 2 * config.condition_width)
        # Where marks are compared, what is the same in all of them does not count.
        self.mark = nn.Linear(2 * config.condition_width, 1, bias=config.loss == "hinge")
        self.ask = nn.Linear(config.condition_width, 2 * config.condition_width, bias=False)

    def asked(self, cond: Condition, n: int) -> Tensor:
        """What a condition asks for, (B, 2 E); the same for every clip that it is compared with."""
        told: Tensor = self.ask(self.condition(cond, n, self.ask.weight.device))
        return told

    def forward(
        self, video: Tensor, asked: Tensor, cond: Condition, level: int, fade: float
    ) -> Tensor:
        """(B, C, T', H', W') of the size of `level` to marks (B, 1); `fade` as in Generator."""
        if self.image and cond.image is not None:
            size = (video.shape[3], video.shape[4])
            image = F.adaptive_avg_pool2d(cond.image, size)[:, :, None]
            video = torch.cat([video, video - image], 1)
        elif self.image:
            video = torch.cat([video, torch.zeros_like(video)], 1)
        x = self._enter(video, level)
        for n in range(level, -1, -1):
            x = self.levels[n](x)
            if n == level and n and fade < 1:
                x = torch.lerp(self._enter(F.avg_pool3d(video, 2), n - 1), x, fade)
        x = F.leaky_relu(self.leave(x.flatten(1)), 0.2)  # (B, 2 E)
        fits = (asked * x).sum(1, keepdim=True) / x.shape[1] ** 0.5
        mark: Tensor = self.mark(x) + fits
        return mark.float()

    def _enter(self, video: Tensor, level: int) -> Tensor:
        x: Tensor = self.enters[level](fold(video, self.patch))
        return x


class PlainLevel(nn.Module):
    """Two 3D convolutions beside a straight way; with `halve` time, height and width are halved
    between the two."""

    def __init__(self, width: int, out: int, *, halve: bool) -> None:
        super().__init__()
        self.halve = halve
        self.straight = nn.Conv3d(width, out, 1) if width != out else nn.Identity()
        self.conv1 = nn.Conv3d(width, width, 3, padding=1)
        self.conv2 = nn.Conv3d(width, out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, t, h, w) to (B, O, t, h, w), or half as large."""
        y = F.leaky_relu(self.conv1(F.leaky_relu(x, 0.2)), 0.2)
        if self.halve:
            x, y = F.avg_pool3d(x, 2), F.avg_pool3d(y, 2)
        out: Tensor = (self.straight(x) + self.conv2(y)) * 0.7071
        return out


def smaller(video: Tensor, levels: int) -> Tensor:
    """(B, C, T, H, W) halved in every direction, so many times."""
    for _ in range(levels):
        video = F.avg_pool3d(video, 2)
    return video


def _seen(level: int, config: Config) -> bool:
    """Whether a level's clips are ever shown: the finest, and those before it while growing."""
    return bool(config.grow) or level == len(config.widths) - 1


def _doubled(x: Tensor) -> Tensor:
    """Every place eight times: what `smaller` takes back exactly."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


def _moved(image: Tensor, motion: Tensor, size: torch.Size) -> Tensor:
    """A picture (B, C, H, W) that moves, (B, C, *size); the first frame is the picture itself.

    Args:
        motion: right and down from a frame to the next, in halves of the picture, (B, 2, t, h, w).
    """
    frames, height, width = size
    far = F.interpolate(motion.float(), size=tuple(size), mode="trilinear").cumsum(2)
    far = (far - far[:, :, :1]).movedim(1, -1).flatten(0, 1)  # (B T', H', W', 2)
    ys, xs = (
        (torch.arange(n, device=far.device) * 2 + 1) / n - 1 for n in (height, width)
    )  # centres of pixels, from -1 to 1
    places = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), -1) - far
    image = F.adaptive_avg_pool2d(image.float(), (height, width))
    images = image.repeat_interleave(frames, 0)
    moved = F.grid_sample(images, places, padding_mode="border", align_corners=False)
    return moved.reshape(-1, frames, *moved.shape[1:]).movedim(1, 2)


def _base(config: Config, spec: VideoSpec) -> tuple[int, int, int]:
    times = 2 ** (len(config.widths) - 1)
    a, b, c = config.patch
    return spec.frames // (a * times), spec.height // (b * times), spec.width // (c * times)
