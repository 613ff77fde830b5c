"""Words, pictures and videos as conditions, and the selection of held-out clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from engine.conftest import MakeConfig
from PIL import Image

from vidgen.data.dataset import open_dataset
from vidgen.data.encode import encode_mp4
from vidgen.data.video import decode
from vidgen.engine.contact_sheet import contact_sheet
from vidgen.engine.held_out import HeldOut
from vidgen.engine.prompts import Prompt, label_index, read_past, read_picture
from vidgen.errors import ConfigError, DataError
from vidgen.types import encode_text


def test_a_picture_is_scaled_and_cropped_like_a_training_frame(tmp_path: Path) -> None:
    rows, columns = np.mgrid[0:60, 0:120]
    smooth = np.stack([rows * 4, columns * 2, 255 - columns], -1).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.png")
    (tmp_path / "a.mp4").write_bytes(encode_mp4(smooth[None].repeat(2, 0), 8, crf=1))
    picture = read_picture(tmp_path / "a.png", (16, 16))
    frame = decode(tmp_path / "a.mp4", fps=8, size=(16, 16))[0]
    difference = picture - torch.from_numpy(frame).permute(2, 0, 1).float()
    assert difference.abs().mean() < 3  # of 255; the codec alone loses about one


def test_pictures_of_every_kind(tmp_path: Path) -> None:
    half = Image.new("RGBA", (8, 8), (255, 255, 255, 128))
    half.save(tmp_path / "half.png")
    assert read_picture(tmp_path / "half.png", (4, 4)).unique().tolist() == [128.0]
    Image.new("P", (8, 8)).save(tmp_path / "palette.png")
    assert read_picture(tmp_path / "palette.png", (4, 4)).shape == (3, 4, 4)
    turned = Image.new("RGB", (8, 4), (255, 0, 0))
    turned.putpixel((0, 0), (0, 0, 255))
    exif = turned.getexif()
    exif[0x0112] = 6  # to be shown a quarter turn clockwise
    turned.save(tmp_path / "turned.png", exif=exif)
    assert read_picture(tmp_path / "turned.png", (8, 4))[:, 0, 3].tolist() == [0.0, 0.0, 255.0]
    assert read_picture(tmp_path / "half.png", (4, 4), grey=True).shape == (1, 4, 4)


def test_past_frames_are_the_last_ones(tmp_path: Path) -> None:
    frames = np.stack([np.full((16, 16, 3), 20 * t, np.uint8) for t in range(10)])
    (tmp_path / "a.mp4").write_bytes(encode_mp4(frames, 8, crf=1))
    past = read_past(tmp_path / "a.mp4", (8, 8), fps=8, frames=3)
    assert past.shape == (3, 3, 8, 8)
    brightness = (past.mean((0, 2, 3)) + 1) * 127.5
    torch.testing.assert_close(brightness, torch.tensor([140.0, 160.0, 180.0]), atol=3, rtol=0)
    with pytest.raises(DataError, match="has 10 frames at 8 per second; expected at least 11"):
        read_past(tmp_path / "a.mp4", (8, 8), fps=8, frames=11)


def test_labels_go_by_name_or_number() -> None:
    assert label_index("cat", ("dog", "cat")) == 1
    assert label_index("1", ("dog", "cat")) == 1
    assert label_index("1", ("1", "0")) == 0  # a name comes first
    with pytest.raises(
        ConfigError, match=r"no label 'cta' \(did you mean 'cat'\?\); expected one of"
    ):
        label_index("cta", ("dog", "cat"))
    with pytest.raises(ConfigError, match="no label '2'"):
        label_index("2", ("dog", "cat"))
    with pytest.raises(ConfigError, match="a data set with labels"):
        label_index("x", ())


def test_a_prompt_becomes_rows(make_config: MakeConfig, tmp_path: Path) -> None:
    Image.new("L", (8, 8), 51).save(tmp_path / "edges.png")
    config = make_config(
        data={"labels": ["dark", "light"]},
        model={"conditions": ["text", "label", "sketch"]},
    )
    prompt = Prompt(captions=("one", "two"), label="light", sketch=tmp_path / "edges.png")
    cond = prompt.condition(config, fps=8)
    assert cond.text is not None
    assert torch.equal(cond.text, encode_text(["one", "two"]))
    assert cond.label is not None
    assert cond.label.tolist() == [1, 1]
    assert cond.sketch is not None
    assert cond.sketch.shape == (2, 1, 4, 8, 8)
    assert cond.sketch.unique().tolist() == pytest.approx([0.2])
    assert cond.image is None
    assert cond.past is None
    assert list(Prompt().condition(config, fps=8).items()) == []


def test_contact_sheet_shows_each_video_over_time() -> None:
    videos = [np.full((12, 8, 8, 3), value, np.uint8) for value in (0, 200)]
    videos[0][-1] = 99
    sheet = contact_sheet(videos, ["a caption <b> & \N{SNOWMAN} " * 20, ""])
    import io

    picture = np.asarray(Image.open(io.BytesIO(sheet)))
    assert picture.shape[1] == 8 * 100 - 4 + 24
    line = picture[-12 - 48]  # through the second video: eight frames, four pixels apart
    assert (line == 200).all(1).sum() == 8 * 96
    column = picture[:, 12 + 7 * 100 + 48]  # through the last frames
    assert (column == 99).all(1).sum() == 96
    assert (column == 200).all(1).sum() == 96


def test_unseen_captions(make_config: MakeConfig, clips: Path) -> None:
    config = make_config(evaluate={"clips": 10})
    dataset = open_dataset(str(clips))
    whole = HeldOut(dataset=dataset, config=config, limit=10)
    assert len(whole) == 4
    assert len(HeldOut(dataset=dataset, config=config, limit=3)) == 3

    def with_captions(captions: list[str]) -> HeldOut:
        """The last four rows, the test split, get these captions; those of train are 't'."""
        table = dataset.table
        column = ["t" if s == "train" else "v" for s in table["split"].to_pylist()]
        column[-4:] = captions
        index = table.schema.get_field_index("caption")
        changed = table.set_column(index, "caption", pa.array(column))
        return HeldOut(
            dataset=dataset.with_rows(changed),
            config=config,
            limit=10,
        )

    some = with_captions(["t", "a", "b", "a"])
    all_unseen = some.with_unseen_captions(one_each=False)
    assert all_unseen.captions() == ["a", "b", "a"]
    assert all_unseen.selection == "captions not in train"
    assert all_unseen.note.startswith("3 of 4 usable clips in split 'test' have a caption")
    each = some.with_unseen_captions(one_each=True)
    assert each.captions() == ["a", "b"]
    assert each.note.endswith("2 different ones")
    assert each.protocol(frozenset()).data != some.protocol(frozenset()).data
    none = with_captions(["t"] * 4).with_unseen_captions(one_each=True)
    assert len(none) == 4
    assert none.selection == "all"
    assert none.note.endswith("scored on captions seen in training")
