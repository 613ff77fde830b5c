"""Hand-made statistics of a video in space and time: no weights, no download, milliseconds a clip.

They notice what goes wrong in generated video (noise, blur, frames out of order, freezing,
flicker, colour drift) because each is a direct measurement of it. They know nothing of what a
video shows: for that use a trained extractor beside them. Energies are taken as logarithms, so
that a factor counts alike at every level and feature sizes are comparable without constants fitted
to some data set.

Legend: B batch, C channels, T frames, H height, W width, L pyramid level.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vidgen.metrics.features.base import Extractor, InputSpec

_SIZE = 64
_TILES = 4  # a frame's layout is seen on a 4 x 4 grid
_LEVELS = 3  # octaves of the pyramid
_WINDOW = 8  # pixels; motion is solved per window
_CALM = 0.5  # motion differs far more between real clips than sharpness does; this evens them out
_FLOOR = 1 / 1024  # a quarter of a grey level: what lies below is rounding


class StStats(Extractor):
    """Statistics of the frames, averaged over time, and of how they change."""

    name: ClassVar[str] = "st-stats"
    version: ClassVar[str] = "1"
    dim = 76

    def __init__(self) -> None:
        super().__init__()
        self.input = InputSpec(size=(_SIZE, _SIZE), least_frames=4)

    def extract(self, video: Tensor) -> Tensor:
        ycc = luma_chroma(video)
        return torch.cat([frame_statistics(ycc).mean(1), _CALM * _change_statistics(ycc)], 1)


class FrameStats(Extractor):
    """The same statistics of each frame alone; blind to time on purpose."""

    name: ClassVar[str] = "frame-stats"
    version: ClassVar[str] = "1"
    per: ClassVar[Literal["video", "frame"]] = "frame"
    dim = 40

    def __init__(self) -> None:
        super().__init__()
        self.input = InputSpec(size=(_SIZE, _SIZE))

    def extract(self, video: Tensor) -> Tensor:
        return frame_statistics(luma_chroma(video)).flatten(0, 1)


def luma_chroma(video: Tensor) -> Tensor:
    """(B, 3, T, H, W) RGB in [0, 1] to (B, T, 3, H, W) BT.601 luma and chroma."""
    r, g, b = video.unbind(1)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    return torch.stack([y, 0.564 * (b - y), 0.713 * (r - y)], 2)


def frame_statistics(ycc: Tensor) -> Tensor:
    """(B, T, 40) of (B, T, 3, H, W)."""
    y = ycc[:, :, 0]
    tiles = F.adaptive_avg_pool2d(y, _TILES).flatten(2)  # layout: where it is bright
    parts = [ycc.mean((-1, -2)), _log(ycc.std((-1, -2))), 2 * tiles]
    for band in _bands(y):  # sharpness and noise, octave by octave
        rms, mean = band.square().mean((-1, -2)).sqrt(), band.abs().mean((-1, -2))
        sparse = _log(mean) - _log(rms)  # edges are sparse, noise is not
        parts += [_log(rms)[..., None], 2 * sparse[..., None]]
    for chroma in (ycc[:, :, 1], ycc[:, :, 2]):
        parts += [_log(_rms(band, (-1, -2)))[..., None] for band in _bands(chroma)[:2]]
    parts.append(_orientations(y))
    parts.append(_blockiness(y))
    return torch.cat(parts, -1)


def _change_statistics(ycc: Tensor) -> Tensor:
    """(B, 36) of (B, T, 3, H, W): how the picture moves, flickers, jumps or stands still."""
    y = ycc[:, :, 0]
    over = (1, 2, 3)
    parts = []
    means = ycc.mean((-1, -2))  # (B, T, 3): brightness and tint of whole frames
    parts += [_log(means.diff(dim=1).square().mean(1).sqrt()), _log(means.std(1))]
    for level in _pyramid(y):
        step = level.diff(dim=1)
        bend = step.diff(dim=1)
        lags = [_rms(level[:, lag:] - level[:, :-lag], over) for lag in (1, 2, 3)]
        energy = step.square().mean((2, 3))
        # +1: the picture goes on as it went; -1: it goes back, as in flicker and shuffled frames.
        persist = (step[:, 1:] * step[:, :-1]).mean(over) / (energy.mean(1) + _FLOOR**2)
        # How uneven the steps are: a jump in a calm video, a freeze in a lively one.
        uneven = (_log(energy.amax(1).sqrt()) - _log(energy.amin(1).sqrt())) / 2
        parts += [_log(x)[:, None] for x in (*lags, _rms(bend, over))]
        parts += [2 * persist[:, None], uneven[:, None]]
    parts.append(_motion(y))
    return torch.cat(parts, 1)


def _motion(y: Tensor) -> Tensor:
    """(B, 12) statistics of window-wise optical flow (Lucas and Kanade 1981) on (B, T, H, W)."""
    before, after = y[:, :-1], y[:, 1:]
    middle = (before + after) / 2
    gx, gy, gt = _slope(middle, -1), _slope(middle, -2), after - before

    def window(x: Tensor) -> Tensor:  # (B, T - 1, h, w)
        return F.avg_pool2d(x, _WINDOW)

    xx, yy, xy = window(gx * gx) + 1e-4, window(gy * gy) + 1e-4, window(gx * gy)
    xt, yt, tt = window(gx * gt), window(gy * gt), window(gt * gt)
    determinant = xx * yy - xy * xy
    u, v = (xy * yt - yy * xt) / determinant, (xy * xt - xx * yt) / determinant  # pixels a frame
    # What no motion explains: new content, noise, flicker.
    left = (tt + u * xt + v * yt).clamp_min(0)
    speed = (u * u + v * v).sqrt()
    turn = ((u.diff(dim=1) ** 2 + v.diff(dim=1) ** 2).sqrt()).mean((1, 2, 3))
    h, w = u.shape[-2:]
    across = torch.linspace(-1, 1, w, device=y.device)
    down = torch.linspace(-1, 1, h, device=y.device)[:, None]
    over = (1, 2, 3)
    return torch.stack(
        [
            _log(speed.mean(over)),
            _log(speed.amax((2, 3)).mean(1)),
            _log(turn),
            _log(left.mean(over).sqrt()),
            left.mean(over) / (tt.mean(over) + _FLOOR**2),
            _log(speed.std(over)),
            2 * u.mean(over),  # which way things move; changes sign when time runs backwards
            2 * v.mean(over),
            4 * (u * across).mean(over),  # zoom
            4 * (v * down).mean(over),
            4 * (v * across - u * down).mean(over),  # rotation
            (speed < 0.05).float().mean(over),
        ],
        1,
    )


def _orientations(y: Tensor) -> Tensor:
    """(B, T, 4): second and fourth circular moment of the edge directions, weighted by energy.

    The double-angle form of a direction histogram: smooth, and no arctangent per pixel.
    """
    gx, gy = _slope(y, -1), _slope(y, -2)
    energy = gx * gx + gy * gy + _FLOOR**2
    cos2, sin2 = gx * gx - gy * gy, 2 * gx * gy  # energy times cos and sin of twice the angle
    moments = [cos2, sin2, (cos2 * cos2 - sin2 * sin2) / energy, 2 * cos2 * sin2 / energy]
    whole = energy.mean((-1, -2))
    return 2 * torch.stack([m.mean((-1, -2)) / whole for m in moments], -1)


def _blockiness(y: Tensor) -> Tensor:
    """(B, T, 2): slopes on every 8th, and every 4th, pixel boundary, over those elsewhere."""
    step = y.diff(dim=-1).abs().mean(-2) + y.diff(dim=-2).abs().mean(-1)  # (B, T, W - 1)
    place = torch.arange(1, _SIZE, device=y.device)
    found = [
        _log(step[..., place % period == 0].mean(-1))
        - _log(step[..., place % period != 0].mean(-1))
        for period in (8, 4)
    ]
    return 2 * torch.stack(found, -1)


def _pyramid(x: Tensor) -> list[Tensor]:
    """(B, T, H, W) at full size and halved, `_LEVELS` levels."""
    levels = [x]
    for _ in range(_LEVELS - 1):
        levels.append(F.avg_pool2d(levels[-1], 2))
    return levels


def _bands(x: Tensor) -> list[Tensor]:
    """Laplacian pyramid: what each octave adds, `_LEVELS + 1` bands, finest first."""
    bands = []
    for _ in range(_LEVELS + 1):
        coarse = F.avg_pool2d(x, 2)
        back = F.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)
        bands.append(x - back)
        x = coarse
    return bands


def _slope(x: Tensor, dim: int) -> Tensor:
    """Central difference along `dim`, in grey levels a pixel; one-sided at the border."""
    gradient: Tensor = torch.gradient(x, dim=dim)[0]
    return gradient


def _rms(x: Tensor, over: tuple[int, ...]) -> Tensor:
    return x.square().mean(over).sqrt()


def _log(x: Tensor) -> Tensor:
    return torch.log2(x + _FLOOR)
