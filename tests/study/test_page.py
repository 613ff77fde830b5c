"""The study page in a real browser: two people complete it, and their scores come out."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from browser import Browser
from planted_study import collect

from vidgen.study.create import Plan, create
from vidgen.study.model import Key, Trial, read_key
from vidgen.study.score import score

FRESH = "localStorage.clear(); return true"
SCREEN = (
    "return {trial: state.at < 0 ? 'start' : state.order[state.at] || 'end', "
    "flipped: state.flipped[state.order[state.at]] || false, "
    "total: state.order.length}"
)


@pytest.fixture
def made(folders: tuple[Path, Path], tmp_path: Path) -> Path:
    plan = Plan(pairs=4, marks=2, checks=3, repeats=1)
    create([str(folder) for folder in folders], str(tmp_path / "study"), plan=plan)
    return tmp_path / "study"


def open_fresh(page: Browser, made: Path) -> None:
    page.open(made / "page" / "index.html")
    page.run(FRESH)
    page.requests(), page.complaints()  # forget what was before
    page.open(made / "page" / "index.html")


def wanted(key: Key, trial: Trial, flipped: bool, prefers: str) -> str:
    """What an attentive rater with this taste says."""
    if trial.say:
        return "right" if flipped else "left"
    if trial.kind == "single":
        return "5" if key.videos[str(trial.video)].system == prefers else "2"
    if trial.spoil:
        best = "b" if trial.spoil == "a" else "a"
    else:
        best = "a" if key.videos[str(trial.a)].system == prefers else "b"
    return "left" if (best == "a") != flipped else "right"


def by_keyboard(page: Browser, answer: str) -> None:
    arrows = {"left": "ArrowLeft", "right": "ArrowRight", "same": "ArrowDown"}
    page.press(*[arrows.get(answer, answer)] * 3, "Enter")


def by_touch(page: Browser, answer: str) -> None:
    page.run(
        "for (const label of document.querySelectorAll("
        f"'#questions label:has([value=\"{answer}\"])')) label.click();"
        "document.getElementById('next').click()"
    )


def complete(page: Browser, key: Key, prefers: str, answer_by: Any) -> dict[str, Any]:
    """Go through all screens; what the download would hold."""
    page.run("document.getElementById('begin').click()")
    trials = {trial.id: trial for trial in key.trials}
    while (screen := page.run(SCREEN))["trial"] != "end":
        answer_by(page, wanted(key, trials[screen["trial"]], screen["flipped"], prefers))
        assert page.run(SCREEN)["trial"] != screen["trial"], "the page did not go on"
    found: dict[str, Any] = page.run("return answers()")
    return found


def test_two_people_complete_it(chromium: Browser, made: Path) -> None:
    """One by keyboard at a desk, one by touch on a phone; both like 'good'."""
    key = read_key(made / "key.json")
    given = []
    for size, answer_by in (((1280, 800), by_keyboard), ((390, 844), by_touch)):
        chromium.resize(*size)
        open_fresh(chromium, made)
        chromium.run("document.getElementById('name').value = 'Ada'")
        given.append(complete(chromium, key, "good", answer_by))
    found = score(collect(made, *given))
    assert len(found.raters) == 2
    assert found.dropped == {}
    assert found.notes == []
    assert found.consistency == 1
    for question in found.questions:
        (contest,) = question.contests
        assert (contest.wins, contest.ties, contest.losses) == (8, 0, 0)
        assert question.opinion["good"].value == 5
        assert question.opinion["bad"].value == 2
    assert given[0]["rater"] != given[1]["rater"]
    assert given[0]["finished"]
    orders = [[a["trial"] for a in one["answers"]] for one in given]
    sides = [{a["trial"]: a.get("flipped") for a in one["answers"]} for one in given]
    assert orders[0] != orders[1] or sides[0] != sides[1]
    for one in sides:  # a pair comes back with its sides exchanged
        (again,) = [t for t in key.trials if t.repeats]
        assert one[again.id] != one[str(again.repeats)]
    inside = ("data:", (made / "page" / "index.html").as_uri())
    assert [url for url in chromium.requests() if not url.startswith(inside)] == []
    assert chromium.complaints() == []


def test_closing_the_page_loses_nothing(chromium: Browser, made: Path) -> None:
    open_fresh(chromium, made)
    chromium.run("document.getElementById('begin').click()")
    chromium.run("document.querySelector('#questions input').click()")
    before = chromium.run("return [state.rater, state.order, answers().answers[0].choices]")
    # The browser hands what a page stores to its next process a moment later.
    chromium.run("await new Promise((done) => setTimeout(done, 1000))")
    chromium.open(made / "page" / "index.html")
    assert chromium.run(SCREEN)["trial"] == before[1][0]
    assert chromium.run("return [state.rater, state.order, answers().answers[0].choices]") == before
    assert chromium.run("return document.querySelectorAll('#questions input:checked').length") == 1
    assert chromium.run("return document.getElementById('next').disabled")


def test_going_back_and_changing_ones_mind(chromium: Browser, made: Path) -> None:
    key = read_key(made / "key.json")
    trials = {t.id: t for t in key.trials}
    open_fresh(chromium, made)
    chromium.run("document.getElementById('begin').click()")
    first = chromium.run(SCREEN)["trial"]
    assert trials[first].kind == "pair"
    by_keyboard(chromium, "left")
    chromium.press("Backspace")
    assert chromium.run(SCREEN)["trial"] == first
    by_touch(chromium, "same")
    answer = chromium.run(f"return state.answers['{first}']")
    assert set(answer["choices"].values()) == {"same"}
    assert answer["ms"] > 0


def test_videos_play_and_the_spoilt_one_is_blurred(chromium: Browser, made: Path) -> None:
    key = read_key(made / "key.json")
    open_fresh(chromium, made)
    chromium.run("document.getElementById('begin').click()")
    for index, trial in enumerate(chromium.run("return state.order")):
        chromium.run(f"go({index})")
        shown = chromium.run(
            "const videos = [...document.querySelectorAll('video')];"
            "for (let i = 0; i < 100 && !videos.every((v) => v.readyState >= 3); i++)"
            " await new Promise((r) => setTimeout(r, 50));"
            "return videos.map((v) => [v.readyState >= 3 && !v.paused, v.duration,"
            " getComputedStyle(v).filter !== 'none'])"
        )
        spoilt = next(t for t in key.trials if t.id == trial).spoil is not None
        assert all(playing and duration > 1 for playing, duration, _ in shown)
        assert sum(blurred for *_, blurred in shown) == spoilt


class Receiver(BaseHTTPRequestHandler):
    """Takes answers, once told to."""

    taken: list[dict[str, Any]] = []
    status = 200

    def do_OPTIONS(self) -> None:
        self._answer(204)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.status == 200:
            self.taken.append(json.loads(body))
        self._answer(self.status)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Access-Control-Allow-Headers", "content-type")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def receiver() -> Iterator[str]:
    Receiver.taken, Receiver.status = [], 200
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/answers"
    server.shutdown()
    server.server_close()


def test_answers_are_posted_and_a_refusal_is_said(
    chromium: Browser, folders: tuple[Path, Path], tmp_path: Path, receiver: str
) -> None:
    plan = Plan(pairs=1, marks=0, checks=1, repeats=0)
    create([str(f) for f in folders], str(tmp_path / "study"), plan=plan, post=receiver)
    key = read_key(tmp_path / "study" / "key.json")
    open_fresh(chromium, tmp_path / "study")
    Receiver.status = 503
    said = (
        "for (let i = 0; i < 100 && byId('sent').textContent === 'Sending…'; i++)"
        " await new Promise((r) => setTimeout(r, 50)); return byId('sent').textContent"
    )
    given = complete(chromium, key, "good", by_touch)
    assert "Not sent: the server answered 503" in chromium.run(said)
    Receiver.status = 200
    chromium.run("document.getElementById('resend').click()")
    assert chromium.run(said) == "Sent."
    assert Receiver.taken == [given]
    assert score(collect(tmp_path / "study", *Receiver.taken)).raters == [given["rater"]]
    assert all("503" in line for line in chromium.complaints())


def test_a_phone_needs_no_sideways_scrolling(chromium: Browser, made: Path) -> None:
    open_fresh(chromium, made)
    for width in (320, 390, 1280):
        chromium.resize(width, 800)
        for at in (-1, 0, 8, 99):
            chromium.run(f"go({at})")
            room = chromium.run("return [document.documentElement.scrollWidth, innerWidth]")
            assert room[0] <= room[1], (width, at)
            small = chromium.run(
                "return [...document.querySelectorAll('.choices label, .actions button.main')]"
                ".filter((e) => e.offsetParent && e.getBoundingClientRect().height < 44).length"
            )
            assert small == 0, (width, at)
