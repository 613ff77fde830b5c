"""Trains vidgen-clip: `python -m vidgen.metrics.encoder.train OUT.safetensors`; one core will do.

Everything it learns from is made on the spot (worlds.py, moving shapes with captions) and spoilt on
the spot (damage.py). The tasks, all answered by one linear layer each from the same features:

    damage   how strong each kind of damage is                       (smooth L1)
    arrow    whether the clip runs backwards, where that can be seen (cross-entropy)
    motion   where camera and things go                              (smooth L1)
    event    what the things do                                      (cross-entropy)
    layout   a thumbnail of nine coloured tiles                      (smooth L1)
    caption  which caption of the batch describes the clip           (InfoNCE, Radford et al. 2021)

Legend: B batch, T frames, S side in pixels, K damages, D feature size.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Generator, Tensor, nn

from vidgen.data.synthetic import paint, scene_of
from vidgen.metrics.encoder.damage import DAMAGES, spoil
from vidgen.metrics.encoder.worlds import EVENTS, FRAMES, SIDE, make_worlds
from vidgen.metrics.features.vidgen_clip import DIM, Network, odd
from vidgen.nn.conditions import TextEncoder
from vidgen.types import encode_text

WORLDS, SHAPES = 4800, 1536  # clips kept in memory
BATCH, CAPTIONED = 32, 10
CLEAN = 600  # clips whose spread is the unit
STEPS, LR, WEIGHT_DECAY = 300, 3e-3, 0.05
UNTIMELY = {"shuffle", "freeze", "stutter"}  # after these nobody can tell which way time runs
LAYOUT = 0.3  # how much of a clip's colours counts beside how it moves


@dataclass(kw_only=True)
class Lesson:
    """A batch of clips and the right answers; captioned clips come last."""

    video: Tensor  # (B, 3, T, S, S) in [0, 1]
    damage: Tensor  # (B, K)
    backwards: Tensor  # (B,)
    arrow: Tensor  # (B,) bool: whether the question makes sense
    motion: Tensor  # (B, 6), NaN where unknown
    event: Tensor  # (B,), -1 where unknown
    text: Tensor  # (captioned, L)


class Tasks(nn.Module):
    """Linear answers from (B, D) features, and the tower that reads captions."""

    def __init__(self) -> None:
        super().__init__()
        self.damage = nn.Linear(DIM, len(DAMAGES))
        self.arrow = nn.Linear(DIM, 1)
        self.motion = nn.Linear(DIM, 6)
        self.event = nn.Linear(DIM, len(EVENTS))
        self.layout = nn.Linear(DIM, 27)
        self.caption = nn.Linear(DIM, 64, bias=False)
        self.text = TextEncoder(width=16, tokens=1, out=64, features=128)
        self.sharpness = nn.Parameter(torch.tensor(math.log(10.0)))

    def losses(self, z: Tensor, lesson: Lesson) -> dict[str, Tensor]:
        known = lesson.event >= 0
        layout = F.adaptive_avg_pool2d(lesson.video.mean(2), 3).flatten(1)
        words = F.normalize(self.text(lesson.text)[1], dim=1)
        shown = F.normalize(self.caption(z[-len(words) :]), dim=1)
        alike = self.sharpness.exp().clamp(max=50) * shown @ words.T
        pairs = torch.arange(len(words))
        return {
            "damage": 10 * F.smooth_l1_loss(self.damage(z), lesson.damage, beta=0.2),
            "arrow": 2
            * F.binary_cross_entropy_with_logits(
                self.arrow(z)[lesson.arrow, 0], lesson.backwards[lesson.arrow]
            ),
            "motion": 2 * F.smooth_l1_loss(self.motion(z)[known], lesson.motion[known], beta=0.3),
            "event": 0.6 * F.cross_entropy(self.event(z)[known], lesson.event[known]),
            "layout": 2 * F.smooth_l1_loss(self.layout(z), layout, beta=0.1),
            "caption": 0.3 * (F.cross_entropy(alike, pairs) + F.cross_entropy(alike.T, pairs)),
        }


class School:
    """Clips made once, cut and spoilt anew for every lesson."""

    def __init__(self, seed: int, *, worlds: int = WORLDS, shapes: int = SHAPES) -> None:
        self.g = Generator().manual_seed(seed)
        parts = [make_worlds(min(60, worlds - at), self.g) for at in range(0, worlds, 60)]
        self.worlds = {
            f.name: torch.cat([getattr(p, f.name) for p in parts]) for f in fields(parts[0])
        }
        scenes = [scene_of(index, seed=seed) for index in range(shapes)]
        drawn = [
            paint(scene, rng=np.random.default_rng([seed, index]), height=SIDE, width=SIDE)
            for index, scene in enumerate(scenes)
        ]
        self.shapes = torch.from_numpy(np.stack(drawn)).permute(0, 4, 1, 2, 3)
        self.captions = [scene.caption for scene in scenes]

    def lesson(self, *, batch: int = BATCH, captioned: int = CAPTIONED) -> Lesson:
        g = self.g
        rows = torch.randint(len(self.shapes), (captioned,), generator=g)
        at = torch.randint(len(self.worlds["video"]), (batch - captioned,), generator=g)
        video = torch.cat([self.worlds["video"][at], self.shapes[rows]]).float() / 255
        motion = torch.cat([self.worlds["motion"][at], torch.full((captioned, 6), math.nan)])
        event = torch.cat([self.worlds["event"][at], torch.full((captioned,), -1)])
        arrow = torch.cat([self.worlds["arrow"][at], torch.zeros(captioned, dtype=torch.bool)])
        video, motion = self._cut(video, motion)
        backwards = (torch.rand(batch, generator=g) < 0.5) & (event >= 0)
        video[backwards] = video[backwards].flip(2)
        motion[backwards] *= -1
        mirrored = (torch.rand(batch, generator=g) < 0.5) & (event >= 0)
        video[mirrored] = video[mirrored].flip(4)
        motion[mirrored] *= torch.tensor([-1.0, 1, 1, -1, -1, 1])
        damage = torch.zeros(batch, len(DAMAGES))
        for row in range(batch):
            video[row] = self._tint(video[row]) if event[row] >= 0 else video[row]
            kinds = self._kinds()
            arrow[row] &= not UNTIMELY & {list(DAMAGES)[kind] for kind in kinds}
            for kind in kinds:
                strength = float(torch.rand((), generator=g)) * 0.95 + 0.05
                video[row] = spoil(video[row], list(DAMAGES)[kind], strength, g)
                damage[row, kind] = 0.3 + 0.7 * strength
        return Lesson(
            video=(video * 255).round() / 255,
            damage=damage,
            backwards=backwards.float(),
            arrow=arrow,
            motion=motion,
            event=event,
            text=encode_text([self.captions[row] for row in rows.tolist()]),
        )

    def _cut(self, video: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
        """Half of the frames in a row, every other one, or all; and a coarser picture at times."""
        way = float(torch.rand((), generator=self.g))
        if way < 0.35:
            start = int(torch.randint(FRAMES // 2 + 1, (), generator=self.g))
            video = video[:, :, start : start + FRAMES // 2]
        elif way < 0.92:
            video, motion = video[:, :, ::2], 2 * motion
        if torch.rand((), generator=self.g) < 0.3:
            coarse = F.avg_pool3d(video, (1, 2, 2))
            video = F.interpolate(coarse, scale_factor=(1, 2, 2), mode="trilinear")
        return video.clone(), motion

    def _tint(self, video: Tensor) -> Tensor:
        """Paler or in other colours; the made-up ones are louder than real ones."""
        g = self.g
        video = video[torch.randperm(3, generator=g)]
        pale = float(torch.rand((), generator=g))
        video = video + pale * (video.mean(0, keepdim=True) - video)
        gamma = math.exp(0.4 * float(torch.randn((), generator=g)))
        return video.clamp(1e-3, 1) ** gamma

    def _kinds(self) -> list[int]:
        count = int((torch.rand((), generator=self.g) > torch.tensor([0.4, 0.85])).sum())
        return torch.randperm(len(DAMAGES), generator=self.g)[:count].tolist()

    def undamaged(self, n: int, size: int = 40) -> Iterator[Tensor]:
        """Clips as they are, (size, 3, T, S, S) in [0, 1], a third of them shapes."""
        for at in range(0, n, size):
            third = size // 3
            rows = torch.arange(at, at + size)
            worlds = self.worlds["video"][rows[third:] % len(self.worlds["video"])]
            shapes = self.shapes[rows[:third] % len(self.shapes)]
            yield torch.cat([worlds, shapes]).float() / 255


def train(out: Path, *, seed: int = 0, steps: int = STEPS, school: School | None = None) -> None:
    """Train and write the weights as float16; the school is where the clips come from."""
    torch.manual_seed(seed)
    began = time.monotonic()
    school, net, tasks = school or School(seed), Network(), Tasks()
    weights = [*net.parameters(), *tasks.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=LR, weight_decay=WEIGHT_DECAY, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, steps, pct_start=0.08)
    seen: dict[str, float] = {}
    for step in range(steps):
        lesson = school.lesson()
        losses = tasks.losses(net(lesson.video), lesson)
        optimizer.zero_grad()
        torch.autograd.backward(torch.stack(list(losses.values())).sum())
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        for name, loss in losses.items():
            seen[name] = seen.get(name, loss.item()) * 0.95 + loss.item() * 0.05
        if step % 50 == 0 or step == steps - 1:
            _tell(step, began, seen)
    net.eval()
    with torch.inference_mode():
        clean = torch.cat(
            [torch.cat([net(part), odd(part)], 1) for part in school.undamaged(CLEAN)]
        )
    mean, mix = answers(tasks, clean.double())
    state = {f"net.{name}": value for name, value in net.state_dict().items()}
    state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    state |= {"mean": mean, "mix": mix}
    save_file({k: v.half().contiguous() for k, v in state.items()}, out)


@torch.no_grad()
def answers(tasks: Tasks, clean: Tensor) -> tuple[Tensor, Tensor]:
    """What turns (N, D + O) features of undamaged clips into answers of spread 1: mean and matrix.

    The last O features are those of `odd`, which stay as they are.
    """
    linear = [tasks.damage, tasks.arrow, tasks.motion, tasks.event, tasks.layout]
    weight = torch.cat([each.weight for each in linear]).double()  # (A, D)
    asked, others = len(weight), clean.shape[1] - DIM
    mix = torch.zeros(DIM + others, asked + others, dtype=torch.float64)
    mix[:DIM, :asked] = weight.T
    mix[DIM:, asked:] = torch.eye(others)
    spread = ((clean - clean.mean(0)) @ mix).std(0)
    worth = torch.ones(len(spread), dtype=torch.float64)
    layout = tasks.layout.out_features
    worth[asked - layout : asked] = LAYOUT
    return clean.mean(0), mix * (worth / spread)


def _tell(step: int, began: float, seen: dict[str, float]) -> None:
    shown = "  ".join(f"{name} {value:.3f}" for name, value in seen.items())
    print(f"step {step:5d}  {time.monotonic() - began:5.0f}s  {shown}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    asked = parser.parse_args()
    train(asked.out, seed=asked.seed, steps=asked.steps)


if __name__ == "__main__":
    main()
