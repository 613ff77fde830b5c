"""The world of moving shapes: captions and pictures say the same, files are real and repeatable."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from vidgen.data.shapes import COLOURS, SHAPES, all_scenes, outline, read_caption
from vidgen.data.synthetic import FPS, FRAMES, HEIGHT, WIDTH, paint, scene_of, synthesise
from vidgen.data.video import decode
from vidgen.errors import DataError, StorageError


def test_every_scene_has_its_own_caption_that_reads_back() -> None:
    scenes = all_scenes()
    assert len({scene.caption for scene in scenes}) == len(scenes) >= 640
    assert all(read_caption(scene.caption) == scene for scene in scenes)


@pytest.mark.parametrize(
    "caption",
    ["", "a bee on a flower", "a pink circle moving left slowly on a black background", "a circle"],
)
def test_other_captions_are_not_of_this_world(caption: str) -> None:
    assert read_caption(caption) is None


def test_a_caption_may_be_typed_by_hand() -> None:
    scene = read_caption(" An  Orange square moving up quickly on a navy background.\n")
    assert scene is not None
    assert (scene.colour, scene.speed) == ("orange", "quickly")


def test_scenes_come_once_each_before_any_comes_again() -> None:
    n = len(all_scenes())
    first = [scene_of(i, seed=4) for i in range(n)]
    assert len(set(first)) == n
    assert scene_of(n, seed=4) == first[0]
    assert first != [scene_of(i, seed=5) for i in range(n)]


@pytest.mark.parametrize("shape", SHAPES)
def test_outlines_have_equal_area_and_a_centred_centroid(shape: str) -> None:
    x = np.linspace(-2, 2, 801)
    inside = outline(shape, x, x[:, None], 1.0) < 0
    assert inside.sum() * (x[1] - x[0]) ** 2 == pytest.approx(np.pi, rel=0.01)
    rows, columns = np.nonzero(inside)
    assert x[rows].mean() == pytest.approx(0, abs=0.01)
    assert x[columns].mean() == pytest.approx(0, abs=0.01)


def test_the_whole_shape_stays_in_view() -> None:
    for index in range(0, 768, 5):
        scene = scene_of(index, seed=0)
        video = paint(scene, rng=np.random.default_rng(index)).astype(int)
        foreground = np.abs(video - np.array(COLOURS[scene.colour])).sum(-1) < 30
        area = foreground.sum((1, 2))
        assert area.min() > 0.85 * area.max()


def test_the_same_bytes_from_any_number_of_processes(tmp_path: Path) -> None:
    for name, workers in (("a", 1), ("b", 2)):
        synthesise(tmp_path / name, clips=40, seed=3, workers=workers)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(files) == 41
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_files_hold_what_the_table_says(tmp_path: Path) -> None:
    synthesise(tmp_path, clips=3, seed=1, workers=1)
    with (tmp_path / "captions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for index, row in enumerate(rows):
        scene = read_caption(row["caption"])
        assert scene is not None
        assert row["label"] == row["shape"] == scene.shape
        assert row["group"] == row["caption"]
        assert row["object"] == f"{scene.colour} {scene.shape}"
        video = decode(tmp_path / row["file"], fps=FPS)
        assert video.shape == (FRAMES, HEIGHT, WIDTH, 3)
        painted = paint(scene, rng=np.random.default_rng([1, index]))
        assert np.abs(video.astype(int) - painted).mean() < 4


def test_refuses_what_makes_no_video(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot draw 0 clips"):
        synthesise(tmp_path, clips=0)
    with pytest.raises(DataError, match="63x64"):
        synthesise(tmp_path, clips=1, width=63)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write"):
        synthesise(tmp_path / "file" / "below", clips=1)
