"""Captions, labels and splits that users write down, and splits that nobody wrote down."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidgen.data.captions import Note, read_notes
from vidgen.data.split import assign_splits
from vidgen.errors import DataError
from vidgen.storage.local import LocalStore

SHARES = (0.8, 0.1, 0.1)


def notes_of(folder: Path, files: dict[str, str], videos: list[str]) -> dict[str, Note]:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return read_notes(LocalStore(folder), videos, sorted(files))


def test_a_table(tmp_path: Path) -> None:
    table = (
        "\ufefffile,caption,label,split,group,colour\n"
        'a.mp4,"red, and\n  round",ball,valid,g,red\n'
        "./sub/b é.mp4,,,,,\n"
    )
    notes = notes_of(tmp_path, {"captions.csv": table}, ["a.mp4", "sub/b é.mp4"])
    assert notes["a.mp4"] == Note(
        caption="red, and round", label="ball", split="val", group="g", extra={"colour": "red"}
    )
    assert notes["sub/b é.mp4"] == Note(extra={"colour": ""})


def test_sidecars_fill_what_the_table_leaves_out(tmp_path: Path) -> None:
    files = {
        "captions.csv": "file,label\na.mp4,from table\n",
        "a.txt": "from text\n",
        "a.json": '{"caption": "from json", "label": "other", "year": 1999}',
        "b.txt": " two\nlines ",
    }
    notes = notes_of(tmp_path, files, ["a.mp4", "b.mkv", "c.mp4"])
    assert notes["a.mp4"] == Note(caption="from json", label="from table", extra={"year": 1999})
    assert notes["b.mkv"].caption == "two lines"
    assert "c.mp4" not in notes


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"captions.csv": "flie,caption\na.mp4,x\n"}, r"no column 'file' \(did you mean 'flie'"),
        ({"captions.csv": "file,split\na.mp4,trian\n"}, r"captions.csv:2: .*did you mean 'train'"),
        ({"captions.csv": "file\na.mp4\na.mp4\n"}, r"captions.csv:3: 'a.mp4' is listed twice"),
        ({"captions.csv": "file,caption\na.mp4,x,y\n"}, r"captions.csv:2: more cells"),
        ({"captions.csv": "file,caption\n,x\n"}, r"captions.csv:2: no file name"),
        ({"a.json": "{"}, r"a.json:1: not valid JSON"),
        ({"a.json": "[1]"}, r"a.json: not a JSON object"),
        ({"a.json": '{"label": 3}'}, r"a.json: 'label' is 3; expected text"),
    ],
)
def test_what_cannot_be_understood_is_named(
    files: dict[str, str], says: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=says):
        notes_of(tmp_path, files, ["a.mp4"])


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "captions.csv").write_bytes(b"file,caption\na.mp4,\xff\xfe\n")
    with pytest.raises(DataError, match="not UTF-8"):
        read_notes(LocalStore(tmp_path), ["a.mp4"], ["captions.csv"])


@given(count=st.integers(1, 400), seed=st.integers(0, 10))
def test_shares_are_exact_and_nothing_is_left_empty(count: int, seed: int) -> None:
    splits = assign_splits([f"{n}.mp4" for n in range(count)], {}, shares=SHARES, seed=seed)
    sizes = Counter(splits.values())
    assert len(splits) == count
    if count >= 3:
        assert sizes["val"] == sizes["test"] == max(1, round(count * 0.1))
    assert sizes["train"] >= 1


def test_splits_depend_on_names_and_seed_alone() -> None:
    names = [f"{n}.mp4" for n in range(50)]
    first = assign_splits(names, {}, shares=SHARES, seed=0)
    assert assign_splits(reversed(names), {}, shares=SHARES, seed=0) == first
    assert assign_splits(names, {}, shares=SHARES, seed=1) != first


def test_groups_stay_together_and_the_user_goes_first() -> None:
    notes = {f"{n}.mp4": Note(group=f"g{n % 30}") for n in range(90)}
    notes |= {"x.mp4": Note(split="test"), "y.mp4": Note(split="test"), "g1": Note()}
    splits = assign_splits(notes, notes, shares=SHARES, seed=0)
    for n in range(30):
        assert len({splits[f"{m}.mp4"] for m in range(n, 90, 30)}) == 1
    assert splits["x.mp4"] == splits["y.mp4"] == "test"


def test_a_group_in_two_splits_is_an_error() -> None:
    notes = {"a": Note(group="g", split="train"), "b": Note(group="g", split="test")}
    with pytest.raises(DataError, match="group g is in splits test and train"):
        assign_splits(notes, notes, shares=SHARES, seed=0)


def test_a_share_of_zero_is_zero() -> None:
    splits = assign_splits(map(str, range(20)), {}, shares=(0.9, 0.1, 0), seed=0)
    assert Counter(splits.values()) == {"train": 18, "val": 2}
