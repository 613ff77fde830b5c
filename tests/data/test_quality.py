"""What is wrong with a clip is seen, and what is not wrong is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_video import Recipe, make_video
from moving import moving_square
from PIL import Image, ImageFilter

from vidgen.config.prepare import PrepareOptions
from vidgen.data.alike import near_duplicates, signature
from vidgen.data.dataset import open_dataset
from vidgen.data.encode import encode_mp4, write_mp4
from vidgen.data.letterbox import find_box
from vidgen.data.manifest import read_rejects
from vidgen.data.picture import Box
from vidgen.data.prepare import prepare
from vidgen.data.quality import fault, measure
from vidgen.data.reasons import Reason
from vidgen.data.shots import pieces
from vidgen.data.synthetic import synthesise
from vidgen.data.video import decode, open_video
from vidgen.storage.local import LocalStore

OPTIONS = PrepareOptions(letterbox="crop", width=96, height=96, fps=12, clip_seconds=2, workers=2)
RNG = np.random.default_rng(0)


def scene(seed: int, frames: int = 24, side: int = 96) -> Any:
    """A textured picture that drifts, as a camera's would."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(30, 226, (12, 12, 3)).astype(np.uint8)
    large = np.asarray(
        Image.fromarray(cells).resize((2 * side, 2 * side), Image.Resampling.NEAREST)
    )
    step = int(rng.integers(1, 3))
    return np.stack([large[t * step : t * step + side, t : t + side] for t in range(frames)])


def blurred(frames: Any, sigma: float) -> Any:
    filtered = ImageFilter.GaussianBlur(sigma)
    return np.stack([np.asarray(Image.fromarray(each).filter(filtered)) for each in frames])


def reason(frames: Any) -> Reason | None:
    found = fault(measure(frames), OPTIONS)
    return found and found[0]


def test_reasons() -> None:
    good = scene(0)
    noise = RNG.normal(0, 40, good.shape)
    stuck = good.copy()
    stuck[6:] = stuck[6]
    assert reason(good) is None
    assert reason(blurred(good, 3)) is Reason.BLURRY
    assert reason(np.clip(good + noise, 0, 255).astype(np.uint8)) is Reason.NOISY
    assert reason(good // 64) is Reason.DARK
    assert reason(255 - good // 64) is Reason.BRIGHT
    assert reason(good[:1].repeat(24, 0)) is Reason.STATIC
    assert reason(stuck) is Reason.FROZEN
    assert reason(encoded(stuck)) is Reason.FROZEN
    assert reason(encoded(good)) is None
    assert reason(encoded(good[::3].repeat(3, 0))) is None  # a low rate is no still


def encoded(frames: Any) -> Any:
    return decode(encode_mp4(frames, 12, crf=28), fps=12)


def test_real_clips_are_sharp_and_blurred_ones_are_not(real_clips: Path) -> None:
    for name in ("bee.mp4", "coffee_pour.mp4", "dog_trick.mp4", "highway_overtake.mp4"):
        frames = decode(real_clips / name, fps=4, size=(128, 128))[:8]
        assert fault(measure(frames), OPTIONS) is None, name
        assert reason(blurred(frames, 2.5)) is Reason.BLURRY, name


def test_cuts_are_found_where_they_are() -> None:
    shots = [scene(n, frames=10 + n) for n in range(6)]
    whole = np.concatenate(shots)
    found = list(pieces(whole, length=1000, shots=True))
    starts = np.cumsum([0, *map(len, shots[:-1])])
    assert [piece.start for piece in found] == starts.tolist()
    assert np.array_equal(np.concatenate([piece.frames for piece in found]), whole)
    short = list(pieces(whole, length=8, shots=True))
    assert all(len(piece.frames) <= 8 for piece in short)
    assert set(starts) <= {piece.start for piece in short}
    assert [p.start for p in pieces(whole, length=40, shots=False)] == [0, 40]


def test_flashes_fast_motion_and_repeated_frames_are_no_cuts() -> None:
    calm = scene(3, frames=40)
    flash = calm.copy()
    flash[20] = 255
    fast = np.stack([np.roll(calm[0], 17 * t, 1) for t in range(40)])
    slow = calm.repeat(4, 0)
    for video in (calm, flash, fast, slow):
        assert len(list(pieces(video, length=1000, shots=True))) == 1


def test_black_bars() -> None:
    picture = scene(1, frames=8)
    wide = np.zeros((8, 128, 96, 3), np.uint8)
    wide[:, 16:112] = picture
    box = find_box(wide)
    assert box is not None
    assert (box.top, box.height) == pytest.approx((17 / 128, 94 / 128))
    assert (box.left, box.width) == (0, 1)
    dark = picture.copy()
    dark[:, :30] = np.linspace(0, 60, 30, dtype=np.uint8)[:, None, None]  # night above a street
    assert find_box(dark) is None
    assert find_box(picture) is None
    assert Box.parse(str(box)) == Box(
        **{n: float(f"{getattr(box, n):.6g}") for n in ("top", "left", "height", "width")}
    )


def test_bars_are_cropped_or_the_source_rejected(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for n in range(3):
        framed = np.zeros((24, 128, 96, 3), np.uint8)
        framed[:, 16:112] = scene(n)
        write_mp4(raw / f"{n}.mp4", framed, 12)
    for output in ("pack", "index"):
        options = OPTIONS.model_copy(update={"output": output})
        prepare(str(raw), str(tmp_path / output), options)
        rows = open_dataset(str(tmp_path / output)).table.to_pylist()
        assert len(rows) == 3
        assert all(row["box"] for row in rows)
        assert all(row["brightness"] > 0.4 for row in rows)  # 0.33 with the bars
    rejecting = OPTIONS.model_copy(update={"letterbox": "reject"})
    with pytest.raises(Exception, match="3 letterboxed"):
        prepare(str(raw), str(tmp_path / "none"), rejecting)


def test_the_same_in_another_size_or_quality_or_cropped_is_a_near_duplicate() -> None:
    clips = [scene(n) for n in range(30)]
    again = [decode(encode_mp4(clip, 12, crf=30), fps=12, size=(64, 64)) for clip in clips[:5]]
    cropped = [clip[:, 2:-2, 2:-2] for clip in clips[5:10]]
    signatures = [signature(clip) for clip in clips + again + cropped]
    assert sorted(near_duplicates(signatures)) == [(n, 30 + n) for n in range(10)]
    assert signature(np.full((24, 96, 96, 3), 90, np.uint8)) == ""
    assert list(near_duplicates(["", ""])) == []


def test_the_same_in_other_colours_is_no_duplicate() -> None:
    clips = [scene(0), scene(0)[..., ::-1], scene(0)[..., [1, 2, 0]]]
    brighter = np.clip(scene(0).astype(np.float32) * 0.9 + 15, 0, 255).astype(np.uint8)
    signatures = [signature(clip) for clip in [*clips, brighter]]
    assert list(near_duplicates(signatures)) == [(0, 3)]
    assert list(near_duplicates([signatures[0], signatures[3][:160]])) == []  # of an older version


def test_few_of_drawn_clips_are_duplicates(tmp_path: Path) -> None:
    synthesise(tmp_path, clips=200, seed=0, height=32, width=32)
    clips = [decode(path, fps=8, size=(32, 32)) for path in sorted(tmp_path.glob("*.mp4"))]
    pairs = list(near_duplicates([signature(clip) for clip in clips]))
    # Some are alike in all but the outline; by brightness alone there are 250 such pairs.
    assert len(pairs) < 15


def test_takes_of_one_camera_are_no_duplicates_but_copies_of_them_are(real_clips: Path) -> None:
    paths = sorted(real_clips.glob("asl_*.mkv"))
    clips = [decode(path, fps=16, size=(128, 128))[:64] for path in paths]
    signatures = [signature(clip) for clip in clips]
    assert len(paths) >= 5
    assert list(near_duplicates(signatures)) == []
    signatures += [signature(clip[:, 3:-3, 3:-3]) for clip in clips]
    pairs = list(near_duplicates(signatures))
    copies = [(n, len(paths) + n) for n in range(len(paths))]
    assert set(pairs) <= set(copies)
    assert len(pairs) >= 0.7 * len(copies)


def test_copies_are_left_out_and_stay_in_one_split(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for n in range(9):
        write_mp4(raw / f"{n}.mp4", scene(n), 12)
        write_mp4(raw / f"{n}-again.mp4", scene(n), 12, crf=30)
    (raw / "same.mp4").write_bytes((raw / "0.mp4").read_bytes())
    summary = prepare(str(raw), str(tmp_path / "made"), OPTIONS)
    assert summary.rejects == {"duplicate": 1, "near_duplicate": 9}
    assert sum(summary.clips.values()) == 9
    last = summary.stages[-1]
    assert (last.stage, last.seen, last.kept, last.rejected) == ("duplicates", 19, 9, 10)
    details = [r.detail for r in read_rejects(LocalStore(tmp_path / "made"))]
    assert "same.mp4 at 0 s shows the same as 0.mp4 at 0 s" in details
    kept = OPTIONS.model_copy(update={"duplicates": "exact"})
    prepare(str(raw), str(tmp_path / "made"), kept)  # cuts nothing again
    rows = open_dataset(str(tmp_path / "made")).table.to_pylist()
    assert len(rows) == 18


def test_near_copies_that_are_kept_share_a_split(tmp_path: Path) -> None:
    from vidgen.data.alike import Groups
    from vidgen.data.split import assign_splits

    names = [f"{n}{kind}" for n in range(40) for kind in "ab"]
    alike = Groups()
    for n in range(40):
        alike.join(f"{n}a", f"{n}b")
    splits = assign_splits(names, {}, shares=(0.6, 0.2, 0.2), seed=0, alike=alike)
    assert all(splits[f"{n}a"] == splits[f"{n}b"] for n in range(40))
    assert len(set(splits.values())) == 3


def lose_frames(path: Path, target: Path, lost: set[int]) -> None:
    """Copy an all-key-frames video without some of its frames; the others keep their times."""
    import av

    with av.open(str(path)) as source, av.open(str(target), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.size and number not in lost:
                packet.stream = stream
                out.mux(packet)


def test_lost_frames_are_blended_of_their_neighbours(tmp_path: Path) -> None:
    ramp = np.stack([np.full((48, 48, 3), 40 + 4 * t, np.uint8) for t in range(40)])
    write_mp4(tmp_path / "whole.mp4", ramp, 12, crf=4, keyframe_every=1)
    lose_frames(tmp_path / "whole.mp4", tmp_path / "lossy.mp4", {10, 11, 12, 25})
    with open_video(tmp_path / "lossy.mp4") as video:
        found = np.stack(list(video.frames(fps=12, blend=True)))
        assert video.tally.filled == [10, 11, 12, 25]
    assert found.shape == ramp.shape
    assert np.abs(found.astype(int) - ramp).max() <= 3
    with open_video(tmp_path / "lossy.mp4") as video:
        repeated = np.stack(list(video.frames(fps=12)))
    assert np.abs(repeated[10:13].astype(int) - ramp[10:13]).max() >= 4


@pytest.mark.parametrize("output", ["pack", "index"])
def test_clips_with_lost_frames(tmp_path: Path, output: str) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    write_mp4(tmp_path / "whole.mp4", scene(0, frames=48), 12, keyframe_every=1)
    lose_frames(tmp_path / "whole.mp4", raw / "a.mp4", {30, 31})
    for missing, clips in (("interpolate", 2 if output == "pack" else 1), ("drop", 1), ("keep", 2)):
        options = OPTIONS.model_copy(update={"output": output, "missing": missing})
        summary = prepare(str(raw), str(tmp_path / missing), options)
        assert sum(summary.clips.values()) == clips, missing
        assert summary.rejects == ({} if clips == 2 else {"missing_frames": 1})


def test_noise_is_filtered_out(tmp_path: Path) -> None:
    clean = scene(0)
    noisy = np.clip(clean + RNG.normal(0, 16, clean.shape), 0, 255).astype(np.uint8)
    write_mp4(tmp_path / "noisy.mp4", noisy, 12, crf=10)

    def error(denoise: str) -> float:
        with open_video(tmp_path / "noisy.mp4", denoise=denoise) as video:
            frames = np.stack(list(video.frames(fps=12)))
        assert len(frames) == len(clean)
        return float(np.abs(frames.astype(int) - clean).mean())

    assert error("nlmeans") < 0.8 * error("off")
    assert error("atadenoise") < error("off")


def test_denoising_keeps_upright_what_is_turned(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", Recipe(container="mp4", codec="libx264", turn=90))
    shapes = []
    for denoise in ("off", "nlmeans"):
        with open_video(path, denoise=denoise) as video:
            shapes.append(next(video.frames(fps=10)).shape)
    assert shapes[0] == shapes[1] == (64, 48, 3)


def test_folders_are_labels(tmp_path: Path) -> None:
    for n in range(6):
        path = tmp_path / "raw" / ("run" if n % 2 else "jump") / f"{n}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_mp4(path, scene(n), 12)
        path.with_suffix(".json").write_text(
            '{"scene": "street", "action": "running", "object": ["dog", "ball"]}'
        )
    prepare(str(tmp_path / "raw"), str(tmp_path / "made"), OPTIONS)
    rows = open_dataset(str(tmp_path / "made")).table.to_pylist()
    assert {row["source"].split("/")[0] == row["label"] for row in rows} == {True}
    assert {(r["scene"], r["action"], r["objects"]) for r in rows} == {
        ("street", "running", "dog, ball")
    }
    never = OPTIONS.model_copy(update={"folder_labels": "never"})
    assert prepare(str(tmp_path / "raw"), str(tmp_path / "made"), never).labels == ()


def test_squares_of_the_other_tests_are_good_clips() -> None:
    assert reason(moving_square(1)) is None
