"""Config files: what loads, what is refused with which line, and that a dump reads back equal."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidgen.config.load import dump, load_run, parse_run, recipe_names
from vidgen.config.run import RunConfig
from vidgen.errors import ConfigError

GOOD = """\
name: mine
data:
  url: clips
  frames: 8
model:
  family: flow
train: {steps: 10, batch_size: 4}
"""


def parse(text: str = GOOD, *overrides: str) -> RunConfig:
    return parse_run(text, "mine.yaml", overrides)


@pytest.mark.parametrize("name", recipe_names())
def test_a_dumped_config_reads_back_equal(name: str, tmp_path: Path) -> None:
    config = load_run(name)
    file = tmp_path / "run.yaml"
    file.write_text(dump(config))
    assert load_run(str(file)) == config


def test_overrides_apply_in_order_and_are_read_as_yaml() -> None:
    config = parse(
        GOOD, "train.steps=20", "optimizer.lr=1e-3", "data.labels=[a, b]", "train.steps=30"
    )
    assert config.train.steps == 30
    assert config.optimizer.lr == 1e-3
    assert list(config.data.labels or ()) == ["a", "b"]


def test_an_override_may_fill_a_group_that_the_file_lacks() -> None:
    assert parse(GOOD, "sampling.guidance=4").sampling.guidance == 4


REFUSED = {
    "unknown key": ("nmae: x", "mine.yaml:8: unknown key 'nmae' (did you mean 'name'?)"),
    "far from every key": ("qqqq: 1", "unknown key 'qqqq'. Keys here: data, description, "),
    "unknown family key": (
        "optimizer: {}\nschedule: {kidn: cosine}",
        "mine.yaml:9: unknown key 'schedule.kidn' (did you mean 'kind'?)",
    ),
    "given twice": ("train: {steps: 3}", "mine.yaml:8: key 'train' is given twice"),
    "not YAML": ("a: [1", "mine.yaml:9: not valid YAML"),
    "wrong type": ("optimizer: {lr: fast}", "mine.yaml:8: optimizer.lr: input should be"),
    "out of range": ("optimizer: {lr: -1}", "mine.yaml:8: optimizer.lr: input should be"),
}


@pytest.mark.parametrize(("more", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_named_with_its_line(more: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(f"{GOOD}{more}\n")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_wrong_is_told_before_what_is_missing() -> None:
    with pytest.raises(ConfigError, match=r"unknown family 'flwo'.*and 1 more"):
        parse("name: mine\nmodel: {family: flwo}\n")
    with pytest.raises(ConfigError, match="key 'data' is missing"):
        parse("name: mine\nmodel: {family: flow}\n")


@pytest.mark.parametrize("text", ["", "- a\n", "42\n"])
def test_a_file_that_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="a mapping of keys"):
        parse(text)


@pytest.mark.parametrize("override", ["train.steps", "=3", "train..steps=3", "name.first=x"])
def test_overrides_that_set_nothing_are_refused(override: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        parse(GOOD, override)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_bytes(b"name: \xff\xfe\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_run(str(file))


def test_clips_that_the_model_cannot_cut_into_patches_are_refused() -> None:
    with pytest.raises(ConfigError, match="frames"):
        parse(GOOD, "data.frames=9", "model.patch=[4, 8, 8]")
