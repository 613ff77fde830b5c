"""Making studies and scoring them, without a browser: raters are played by a few lines."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from planted_study import answers, attentive, careless, collect, folder_of, payload

from vidgen.errors import ConfigError, EvaluationError, VidgenError
from vidgen.study.create import Plan, create
from vidgen.study.model import read_key
from vidgen.study.score import score
from vidgen.study_cli import study


@pytest.fixture
def made(folders: tuple[Path, Path], tmp_path: Path) -> Path:
    """The folder of a study of good against bad."""
    create([str(folder) for folder in folders], str(tmp_path / "study"))
    return tmp_path / "study"


class TestCreate:
    def test_the_page_is_blind(self, made: Path, folders: tuple[Path, Path]) -> None:
        """No name or path of a source is on it, and the numbers do not follow the sources."""
        html = (made / "page" / "index.html").read_text()
        for folder in folders:
            assert folder.name not in html.replace("good (", "").replace("note good", "").replace(
                "note.good", ""
            )
            assert str(folder) not in html
        key = read_key(made / "key.json")
        by_system = [video.system for _, video in sorted(key.videos.items())]
        assert by_system != sorted(by_system)
        assert by_system != sorted(by_system, reverse=True)
        first = [key.videos[t.a].system for t in key.trials if t.id.startswith("p") and t.a]
        assert {"good", "bad"} == set(first)

    def test_videos_are_the_files(self, made: Path, folders: tuple[Path, Path]) -> None:
        key, page = read_key(made / "key.json"), payload(made)
        assert page["videos"].keys() == key.videos.keys()
        for name, video in key.videos.items():
            content = base64.b64decode(page["videos"][name].partition(",")[2])
            folder = folders[0] if video.system == "good" else folders[1]
            assert content == (folder / f"{video.item}.mp4").read_bytes()

    def test_pairs_show_the_same_item(self, made: Path) -> None:
        key = read_key(made / "key.json")
        pairs = [t for t in key.trials if t.kind == "pair" and not t.check]
        assert len(pairs) == 6 + 2  # all there are, and two of them again
        for trial in pairs:
            assert trial.a
            assert trial.b
            a, b = key.videos[trial.a], key.videos[trial.b]
            assert a.item == b.item
            assert {a.system, b.system} == {"good", "bad"}
        assert sum(t.spoil is not None for t in key.trials) == 2
        assert sum(t.say for t in key.trials) == 1
        marks = [key.videos[t.video].system for t in key.trials if t.video]
        assert marks.count("good") == marks.count("bad") == 4

    def test_equal_seeds_make_equal_studies(
        self, made: Path, folders: tuple[Path, Path], tmp_path: Path
    ) -> None:
        again, other = tmp_path / "again", tmp_path / "other"
        create([str(f) for f in folders], str(again))
        create([str(f) for f in folders], str(other), seed=1)
        page = Path("page/index.html")
        assert (again / page).read_bytes() == (made / page).read_bytes()
        assert read_key(other / "key.json").study != read_key(made / "key.json").study

    def test_three_systems_meet_equally_often(self, tmp_path: Path) -> None:
        names = ["one", "two", "three"]
        for name in names:
            folder_of(tmp_path, name, jumps=False, count=4)
        create([str(tmp_path / n) for n in names], str(tmp_path / "s"), plan=Plan(pairs=9))
        key = read_key(tmp_path / "s" / "key.json")
        met = [
            frozenset((key.videos[t.a].system, key.videos[t.b].system))
            for t in key.trials
            if t.id.startswith("p") and t.a and t.b
        ]
        assert len(met) == 9
        assert {met.count(pair) for pair in met} == {3}

    def test_a_bucket_works_like_a_folder(
        self, s3_bucket: str, folders: tuple[Path, Path], made: Path
    ) -> None:
        from vidgen.storage.open import open_store

        source = open_store(f"{s3_bucket}/good")
        for file in folders[0].iterdir():
            source.write(file.name, file)
        create([f"{s3_bucket}/good", str(folders[1])], f"{s3_bucket}/study")
        page = open_store(f"{s3_bucket}/study").read("page/index.html")
        assert page == (made / "page" / "index.html").read_bytes()

    def test_what_generate_leaves_is_matched_by_caption(
        self, folders: tuple[Path, Path], tmp_path: Path
    ) -> None:
        captions = ["a", "b", "a", "c", "d", "e"]
        for name, order in (("x", captions), ("y", captions[::-1])):
            folder = tmp_path / name
            shutil.copytree(folders[0], folder)
            videos = [{"file": f"clip_{n}.mp4", "caption": c} for n, c in enumerate(order)]
            (folder / "generated.json").write_text(json.dumps({"videos": videos}))
        made = create([str(tmp_path / "x"), str(tmp_path / "y")], str(tmp_path / "s"))
        key = read_key(tmp_path / "s" / "key.json")
        assert made.notes == []
        assert {v.item for v in key.videos.values()} == {"a", "a (2)", "b", "c", "d", "e"}
        trial = next(t for t in key.trials if t.id == "p01")
        assert trial.caption
        assert trial.caption in key.videos[str(trial.a)].item

    def test_nothing_in_common_is_said(self, folders: tuple[Path, Path], tmp_path: Path) -> None:
        other = tmp_path / "other"
        other.mkdir()
        for file in folders[1].iterdir():
            shutil.copy(file, other / f"other_{file.name}")
        made = create([str(folders[0]), str(other)], str(tmp_path / "s"))
        assert made.notes == [
            "the sources share no caption and no file name: videos are compared in their order"
        ]

    def test_hostile_captions_stay_text(self, folders: tuple[Path, Path], tmp_path: Path) -> None:
        evil = "</script><script>alert(1)</script>"
        folder = tmp_path / "evil"
        shutil.copytree(folders[0], folder)
        videos = [{"file": f"clip_{n}.mp4", "caption": evil} for n in range(6)]
        (folder / "generated.json").write_text(json.dumps({"videos": videos}))
        create([f"a={folder}", f"b={folder}"], str(tmp_path / "s"), title=evil)
        assert evil not in (tmp_path / "s" / "page" / "index.html").read_text()
        assert payload(tmp_path / "s")["title"] == evil

    @pytest.mark.parametrize(
        ("sources", "options", "says"),
        [
            (["{good}"], {}, "at least two sources, got one"),
            (["{good}", "{good}"], {}, "two of the sources are called 'good'"),
            (["{good}", "{empty}"], {}, "has no videos; expected an evaluated run, or a folder"),
            (["{good}", "{run}"], {}, "has no evaluated clips. Run: vidgen evaluate"),
            (["{good}", "{bad}"], {"real": True}, "none of the sources is one"),
            (["{good}", "{bad}"], {"post": "ftp://x"}, "cannot be sent to 'ftp://x'"),
            (["{good}", "{bad}"], {"post": "https://a;b/"}, "cannot be sent to"),
            (["{good}", "{bad}"], {"plan": Plan(pairs=0, marks=0, checks=0)}, "asks nothing"),
        ],
        ids=lambda value: "",
    )
    def test_bad_input(
        self, sources: list[str], options: dict[str, Any], says: str,
        folders: tuple[Path, Path], tmp_path: Path,
    ) -> None:  # fmt: skip
        (tmp_path / "empty").mkdir()
        run = tmp_path / "run"
        run.mkdir()
        (run / "config.yaml").write_text("name: x")
        places = {"good": folders[0], "bad": folders[1], "empty": tmp_path / "empty", "run": run}
        with pytest.raises(VidgenError) as caught:
            create([s.format(**places) for s in sources], str(tmp_path / "s"), **options)
        assert says in str(caught.value)
        assert isinstance(caught.value, ConfigError | EvaluationError)
        assert not (tmp_path / "s").exists()


class TestScore:
    def test_planted_tastes_come_out(self, made: Path) -> None:
        key = read_key(made / "key.json")
        raters = [answers(key, f"r{n}", attentive("good"), seed=n) for n in range(4)]
        raters.append(answers(key, "r4", attentive("bad"), seed=9))
        found = score(collect(made, *raters))
        assert len(found.raters) == 5
        assert found.dropped == {}
        assert found.consistency == 1
        for question in found.questions:
            (contest,) = question.contests
            assert (contest.one, contest.other) == ("good", "bad")
            assert (contest.wins, contest.ties, contest.losses) == (24, 0, 6)
            assert contest.rate == pytest.approx(0.8)
            # Five raters who each never waver say less than 30 coin tosses (0.63 to 0.90).
            assert contest.interval[0] < 0.5
            assert contest.interval[1] > 0.95
            assert list(question.ranking) == ["good", "bad"]
            assert question.opinion["good"].value == pytest.approx((4 * 5 + 2) / 5)
            assert question.opinion["bad"].value == pytest.approx((4 * 2 + 5) / 5)
            assert question.pair_alpha is not None

    def test_a_tie_is_half(self, made: Path) -> None:
        key = read_key(made / "key.json")
        neither = attentive("nobody")
        (contest,) = score(collect(made, answers(key, "r", neither))).questions[0].contests
        assert (contest.wins, contest.ties, contest.losses, contest.rate) == (0, 6, 0, 0.5)

    def test_agreement_of_two(self, made: Path) -> None:
        key = read_key(made / "key.json")
        one, two = (answers(key, r, attentive("good"), seed=s) for s, r in enumerate("xy"))
        against = answers(key, "z", attentive("bad"), seed=5)
        alike = score(collect(made, one, two)).questions[0]
        apart = score(collect(made, one, against)).questions[0]
        assert alike.mark_alpha == 1
        assert alike.pair_alpha is None  # all chose the same: alpha says nothing
        assert apart.mark_alpha is not None
        assert apart.mark_alpha < 0
        assert apart.pair_alpha is not None
        assert apart.pair_alpha < 0

    def test_the_careless_are_dropped_and_named(self, made: Path) -> None:
        key = read_key(made / "key.json")
        files = collect(
            made, answers(key, "r", attentive("good")), answers(key, "x", careless, seed=1)
        )
        found = score(files)
        assert found.raters == ["r"]
        assert list(found.dropped) == ["x"]
        assert "attention checks" in found.dropped["x"]
        assert found.questions[0].contests[0].rate == 1
        both = score(files, allow_failed=3)
        assert both.dropped == {}
        with pytest.raises(EvaluationError, match="none of the 1 raters is left: failed"):
            score(files[1:])

    def test_stopping_early_counts_as_far_as_it_went(self, made: Path) -> None:
        key = read_key(made / "key.json")
        checks = max(n for n, t in enumerate(key.trials) if t.check)
        found = score(collect(made, answers(key, "r", attentive("good"), stop=checks + 1)))
        assert found.raters == ["r"]
        assert found.notes == [f"r stopped after {checks + 1} of {len(key.trials)}"]
        assert found.questions[0].opinion == {}
        with pytest.raises(EvaluationError, match="before the first attention check"):
            score(collect(made, answers(key, "r", attentive("good"), stop=2)))

    def test_the_fuller_of_two_files_counts(self, made: Path) -> None:
        key = read_key(made / "key.json")
        part, full = (answers(key, "r", attentive("good"), stop=stop) for stop in (12, 999))
        found = score(collect(made, full, part))
        assert found.questions[0].opinion
        assert "r is in two files: the fuller one counts" in found.notes

    def test_bad_files(self, made: Path, folders: tuple[Path, Path], tmp_path: Path) -> None:
        key = read_key(made / "key.json")
        good = answers(key, "r", attentive("good"))
        with pytest.raises(EvaluationError, match=r"answers to study ffff; expected study \w+"):
            score(collect(made, {**good, "study": "ffff"}))
        with pytest.raises(EvaluationError, match="is not a file of answers: rater"):
            score(collect(made, {k: v for k, v in good.items() if k != "rater"}))
        forged = json.loads(json.dumps(good))
        forged["answers"][0]["left"] = forged["answers"][0]["right"]
        with pytest.raises(EvaluationError, match="the answer to 'p01' does not belong"):
            score(collect(made, forged))
        strange = json.loads(json.dumps(good))
        strange["answers"][0]["choices"]["realism"] = "4"
        with pytest.raises(EvaluationError, match="the answer to 'p01' does not belong"):
            score(collect(made, strange))
        broken = made / "broken.json"
        broken.write_text("{")
        with pytest.raises(EvaluationError, match="is not JSON"):
            score([broken])
        with pytest.raises(EvaluationError, match="no such file"):
            score([made / "nowhere.json"])
        with pytest.raises(EvaluationError, match="no raters' answers"):
            score([made / "key.json"])
        far = tmp_path / "a" / "b" / "c"
        far.mkdir(parents=True)
        with pytest.raises(EvaluationError, match=r"no key\.json among the files"):
            score(collect(far, good))
        assert score(collect(far, good), key=made / "key.json").raters == ["r"]

    def test_command_line(self, folders: tuple[Path, Path], tmp_path: Path) -> None:
        out = str(tmp_path / "study")
        runner = CliRunner()
        done = runner.invoke(
            study, ["create", *map(str, folders), "--out", out], catch_exceptions=False
        )
        assert f"keep:       {out}/key.json" in done.output
        key = read_key(tmp_path / "study" / "key.json")
        one = answers(key, "r", attentive("good"))
        files = collect(
            tmp_path / "study", {**one, "name": "Ada"}, answers(key, "x", careless, seed=1)
        )
        asked = ["score", *map(str, files)]
        shown = runner.invoke(study, asked, catch_exceptions=False).output
        assert "1 rater counted: Ada (r)" in shown
        assert "dropped: x: failed" in shown
        assert "100%" in shown
        found = json.loads(runner.invoke(study, [*asked, "--json"], catch_exceptions=False).output)
        assert found["questions"][0]["contests"][0]["rate"] == 1
