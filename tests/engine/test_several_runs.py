"""Several steps, seeds and runs told together: on the page of a run, and on one of all of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine.command_line import Vidgen, call, train_two

from vidgen.data.video import probe
from vidgen.engine.evaluate import cases
from vidgen.engine.evaluation import Evaluation
from vidgen.engine.report import build_page
from vidgen.engine.report_runs import build_comparison
from vidgen.errors import ConfigError, EvaluationError
from vidgen.storage.run_folder import RunFolder

CONFIG = """
name: tiny
data: {synthetic: {clips: 80}, frames: 8, height: 16, width: 16, fps: 4}
model:
  {family: flow, conditions: [text], width: 24, heads: 2, depth: 1, text_width: 16,
   text_tokens: 2, sample_steps: 2}
train:
  {steps: 4, batch_size: 4, log_every: 1, validate_every: 2, sample_every: 0, samples: 2,
   checkpoint_every: 2}
evaluate: {clips: 8, split: val, training_clips: 0, extractors: [st-stats]}
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Two runs that differ in their seed; the first evaluated at two steps with two seeds."""
    folder = tmp_path_factory.mktemp("several")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDGEN_CACHE", str(folder / "cache"))
        one, two = train_two(folder, CONFIG)
        argv = ["--step", "2", "--step", "4", "--seed", "0", "--seed", "7"]
        assert call("evaluate", one, *argv) == 0
        assert call("evaluate", two) == 0
        assert call("bench", one, "--batch", "1", "--steps", "1", "--calls", "2") == 0
        yield str(one), str(two)


def test_the_newest_step_with_the_first_seed_comes_last() -> None:
    assert cases([], []) == [(None, 0)]
    assert cases([4, 2], [3, 5]) == [(2, 5), (2, 3), (4, 5), (4, 3)]


def test_every_evaluation_is_kept(runs: tuple[str, str]) -> None:
    folder = RunFolder(runs[0])
    kept = [(e.step, e.scores[0].subject.seed) for e in Evaluation.read_all(folder)]
    assert sorted(kept) == [(2, 0), (2, 7), (4, 0), (4, 7)]
    last = Evaluation.read(folder)
    assert (last.step, last.scores[0].subject.seed) == (4, 0)


def test_the_page_of_a_run_tells_steps_seeds_speed_and_data(runs: tuple[str, str]) -> None:
    folder = RunFolder(runs[0])
    page = build_page(folder)
    shown = {chart.lines[0].name: chart for chart in page.score_charts}
    assert {"validation_loss", "fd_st-stats", "temporal_consistency", "all_right"} <= set(shown)
    assert "precision_st-stats" in {c.lines[0].name for c in page.more_score_charts}
    by_step: dict[int, list[float]] = {}
    for each in Evaluation.read_all(folder):
        value = next(s.value for s in each.scores if s.name == "fd_st-stats")
        by_step.setdefault(each.step, []).append(value)
    points = [(x, y) for *_, x, y in shown["fd_st-stats"].lines[0].shown]
    assert points == [(step, pytest.approx(sum(v) / 2)) for step, v in sorted(by_step.items())]
    assert page.seeds is not None
    row = next(r for r in page.seeds.rows if r[0].startswith("fd_st-stats"))
    assert [float(v) for v in row[3:5]] == pytest.approx(sorted(by_step[4]), rel=1e-3)
    assert row[5] == "2"
    assert page.speed is not None
    assert [r[:2] for r in page.speed.rows] == [["1", "1"]]
    assert page.verdict.startswith("Real time: 2.00 s of video")
    facts = {fact.name: fact.value for fact in page.data.facts}
    assert facts["Clips"] == "80"
    assert page.data.splits is not None
    assert [r[0] for r in page.data.splits.rows] == ["train", "val", "test"]
    assert {"motion", "brightness"} <= {h.name for h in page.data.histograms}
    titles = [row.title for group in page.score_groups for row in group.rows]
    assert "fd_st-stats ↓" in titles
    assert not [t for t in titles if t.upper().startswith(("FID", "FVD"))]


def test_runs_side_by_side(runs: tuple[str, str], vidgen: Vidgen, tmp_path: Path) -> None:
    page = build_comparison(runs)
    assert [column.name for column in page.columns] == ["one", "two"]
    assert page.differing is not None
    assert page.differing.rows == [["seed", "0", "1"]]
    assert page.seeds is not None  # they differ in nothing else
    rows = {row.title: row for group in page.groups for row in group.rows}
    fd = rows["fd_st-stats ↓"]
    assert fd.verdicts[0] == ""
    assert fd.verdicts[1] in ("better", "worse", "unclear")
    assert "(" in fd.differences[1]
    assert all(len(row.cells) == 2 for row in rows.values())
    assert len(page.likes) == 6
    assert [video.title for video in page.likes[0].videos] == ["real", "one", "two"]
    assert [line.name for line in page.charts[0].lines] == ["one", "two"]
    assert page.speed is not None
    assert [row[0] for row in page.speed.rows] == ["one"]
    code, out, err = vidgen("report", *runs, "--out", tmp_path / "both.html")
    assert (code, err) == (0, "")
    assert out == f"{tmp_path}/both.html\n"
    html = (tmp_path / "both.html").read_text()
    assert html.count("<video") == 18
    assert "http" not in html.replace("http-equiv", "").replace("http://www.w3.org", "")


def test_what_cannot_be_compared_is_refused(
    runs: tuple[str, str], vidgen: Vidgen, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="compared with itself"):
        build_comparison([runs[0], runs[0] + "/"])
    with pytest.raises(ConfigError, match="at most 6"):
        build_comparison([f"{tmp_path}/{n}" for n in range(7)])
    other = shutil.copytree(runs[1], tmp_path / "other")
    stored = json.loads((other / "eval.json").read_text())
    for score in stored["scores"]:
        score["protocol"]["n"] = 6
    (other / "eval.json").write_text(json.dumps(stored))
    with pytest.raises(EvaluationError, match=r"two different protocols.* n \(6 and 8\)"):
        build_comparison([runs[0], str(other)])
    for score in stored["scores"]:
        score["protocol"]["n"] = 8
        if score["name"] == "validation_loss":
            score["protocol"]["extractor"] = "gan objective"
    (other / "eval.json").write_text(json.dumps(stored))
    page = build_comparison([runs[0], str(other)])
    cells = {row.title: row.cells for group in page.groups for row in group.rows}
    assert cells["Validation loss ↓"][1] is None  # a family's own says nothing beside another's
    assert cells["fd_st-stats ↓"][1] is not None
    (other / "eval.json").unlink()
    assert "other is not scored yet" in build_comparison([runs[0], str(other)]).notes[0]
    assert vidgen("report", runs[0], "--out", tmp_path / "x.html")[0] == 2
    assert vidgen("report", runs[0], tmp_path / "nothing")[0] == 1


class TestVBench:
    """The layout: `<prompt>-<k>.mp4` in a folder that holds nothing else."""

    def test_a_prompt_a_line(self, runs: tuple[str, str], vidgen: Vidgen, tmp_path: Path) -> None:
        prompts = tmp_path / "prompts.txt"
        prompts.write_text("a red circle\n\na blue square, 4K\na red circle\n")
        argv = ["generate", runs[0], "--vbench", prompts, "--out", tmp_path / "out"]
        code, out, err = vidgen(*argv)
        assert (code, err) == (0, "")
        videos = Path(out.strip())
        assert videos == tmp_path / "out" / "videos"
        names = [f"{p}-{k}.mp4" for p in ("a blue square, 4K", "a red circle") for k in range(5)]
        assert sorted(file.name for file in videos.iterdir()) == sorted(names)
        info = probe(videos / names[0])
        assert (info.width, info.height, info.fps) == (16, 16, 4.0)
        content = {name: (videos / name).read_bytes() for name in names}
        assert len(set(content.values())) > 5  # numbers are draws, not copies
        # A call that was cut short goes on and ends with the same files.
        (videos / names[0]).unlink()
        assert vidgen(*argv)[0] == 0
        assert {name: (videos / name).read_bytes() for name in names} == content
        code, _, err = vidgen(*argv, "--seed", "3")
        assert code == 2
        assert "holds videos of another seed" in err

    def test_its_own_list_asks_for_more_where_flicker_is_measured(
        self, runs: tuple[str, str], vidgen: Vidgen, tmp_path: Path
    ) -> None:
        listed = [
            {"prompt_en": "a still lake", "dimension": ["temporal_flickering"]},
            {"prompt_en": "a dog runs", "dimension": ["human_action", "subject_consistency"]},
        ]
        info = tmp_path / "VBench_full_info.json"
        info.write_text(json.dumps(listed))
        assert vidgen("generate", runs[0], "--vbench", info, "--out", tmp_path / "all")[0] == 0
        files = sorted(file.name for file in (tmp_path / "all" / "videos").iterdir())
        assert len([f for f in files if f.startswith("a still lake-")]) == 25
        assert len([f for f in files if f.startswith("a dog runs-")]) == 5

    @pytest.mark.parametrize(
        ("name", "text", "says"),
        [
            ("p.txt", "", "has no prompts"),
            ("p.txt", "cats and/or dogs", "cannot be a file's name"),
            ("p.txt", "x" * 300, "cannot be a file's name"),
            ("p.json", "{", "no prompts can be read"),
            ("p.json", '[{"prompt": "x"}]', "no prompts can be read"),
        ],
    )
    def test_bad_lists(
        self, name: str, text: str, says: str, runs: tuple[str, str], vidgen: Vidgen, tmp_path: Path
    ) -> None:
        (tmp_path / name).write_text(text)
        code, _, err = vidgen("generate", runs[0], "--vbench", tmp_path / name)
        assert code == 2
        assert says in err
