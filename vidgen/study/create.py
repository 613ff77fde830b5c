"""`vidgen study create`: which videos are compared, and the page that shows them."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import random
from dataclasses import dataclass
from importlib import resources
from typing import TypeVar
from urllib.parse import urlsplit

from vidgen.config.run import StorageConfig
from vidgen.errors import ConfigError
from vidgen.storage.open import open_store
from vidgen.study.model import QUESTIONS, Key, Trial, Video
from vidgen.study.videos import Item, System, find_systems

S = TypeVar("S")
R = TypeVar("R")

PAGE, KEY = "page/index.html", "key.json"
LARGE = 64 * 1024**2  # bytes; phones struggle with larger pages


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much a rater is asked.

    Attributes:
        pairs: comparisons of two systems, spread evenly over all pairs of systems.
        marks: videos marked one by one, spread evenly over the systems.
        checks: attention checks among the pairs; the last of them tells what to answer.
        repeats: pairs shown a second time with sides exchanged.
    """

    pairs: int = 12
    marks: int = 8
    checks: int = 3
    repeats: int = 2


@dataclass(frozen=True, kw_only=True)
class Created:
    """What was written.

    Attributes:
        page, key: urls of the two files.
        size: of the page, bytes.
        notes: what the caller should know.
    """

    page: str
    key: str
    size: int
    screens: int
    notes: list[str]


def create(
    sources: list[str],
    out: str,
    *,
    plan: Plan | None = None,
    real: bool = False,
    title: str = "Which video is better?",
    post: str | None = None,
    seed: int = 0,
    storage: StorageConfig | None = None,
) -> Created:
    """Write OUT/page/index.html, to be given to raters, and OUT/key.json, to be kept.

    Args:
        sources: two or more runs or folders, each URL or NAME=URL.
        out: folder or s3:// url.
        real: add the real clips of the first run.
        post: https:// url that answers are also sent to.
        seed: of the choice of videos.

    Raises:
        ConfigError, EvaluationError: sources that cannot be compared.
    """
    _check_post(post)
    systems = find_systems(sources, real=real, storage=storage)
    plan = plan or Plan()
    matched, note = _matched(systems)
    chooser = random.Random(seed)
    book = _Book(chooser)
    trials = _pairs(systems, matched, plan, chooser, book)
    trials += _checks(matched, plan, chooser, book)
    trials += _marks(systems, matched, plan, chooser, book)
    if not trials:
        raise ConfigError("a study without pairs, marks and checks asks nothing")
    videos, trials = book.close(trials)
    digest = hashlib.sha256(json.dumps([seed, [t.model_dump() for t in trials]]).encode())
    for number in sorted(videos):
        digest.update(videos[number].sha256.encode())
    key = Key(
        study=digest.hexdigest()[:12],
        title=title,
        seed=seed,
        systems={system.name: system.url for system in systems},
        videos=videos,
        trials=tuple(trials),
    )
    html = _page(key, book, post).encode("utf-8")
    store = open_store(out, storage)
    store.write(PAGE, html)
    store.write(KEY, (key.model_dump_json(indent=1) + "\n").encode("utf-8"))
    notes = [note] if note else []
    if len(html) > LARGE:
        notes.append(f"the page has {len(html) >> 20} MiB: use fewer or smaller videos for phones")
    return Created(
        page=f"{store.url}/{PAGE}",
        key=f"{store.url}/{KEY}",
        size=len(html),
        screens=len(trials),
        notes=notes,
    )


Matched = list[dict[str, Item]]  # per item: a video of each system, by name


def _matched(systems: list[System]) -> tuple[Matched, str]:
    """Videos of one item side by side; by position when the systems share no item."""
    by_item = [{video.item: video for video in system.items} for system in systems]
    shared = [item for item in by_item[0] if all(item in other for other in by_item[1:])]
    names = [system.name for system in systems]
    if shared:
        left_out = max(map(len, by_item)) - len(shared)
        rows = [[videos[item] for videos in by_item] for item in shared]
        note = f"{left_out} videos are not in all sources and are left out" if left_out else ""
    else:
        rows = [list(row) for row in zip(*(system.items for system in systems), strict=False)]
        note = "the sources share no caption and no file name: videos are compared in their order"
    return [dict(zip(names, row, strict=True)) for row in rows], note


class _Book:
    """Numbers for videos that give away neither system nor order."""

    def __init__(self, chooser: random.Random) -> None:
        self.chooser = chooser
        self.items: list[tuple[str, Item]] = []
        self.data: dict[str, str] = {}

    def use(self, system: str, item: Item) -> str:
        """A provisional name."""
        if (system, item) not in self.items:
            self.items.append((system, item))
        return str(self.items.index((system, item)))

    def close(self, trials: list[Trial]) -> tuple[dict[str, Video], list[Trial]]:
        """Final, shuffled names in videos and trials."""
        order = list(range(len(self.items)))
        self.chooser.shuffle(order)
        final = {str(at): f"v{number:03d}" for number, at in enumerate(order, 1)}
        videos = {}
        for at, (system, item) in enumerate(self.items):
            content = item.read()
            name = final[str(at)]
            self.data[name] = (
                f"data:{item.media_type};base64,{base64.b64encode(content).decode('ascii')}"
            )
            videos[name] = Video(
                system=system, item=item.item, sha256=hashlib.sha256(content).hexdigest()
            )
        renamed = [
            trial.model_copy(
                update={f: final[v] for f in ("a", "b", "video") if (v := getattr(trial, f))}
            )
            for trial in trials
        ]
        return dict(sorted(videos.items())), renamed


def _pairs(
    systems: list[System], matched: Matched, plan: Plan, chooser: random.Random, book: _Book
) -> list[Trial]:
    contests = list(itertools.combinations([system.name for system in systems], 2))
    deck = _dealt([(contest, row) for contest in contests for row in matched], plan.pairs, chooser)
    trials = []
    for number, ((one, other), row) in enumerate(deck, 1):
        a, b = chooser.sample([one, other], 2)
        trials.append(
            Trial(
                id=f"p{number:02d}",
                kind="pair",
                a=book.use(a, row[a]),
                b=book.use(b, row[b]),
                caption=row[a].caption,
            )
        )
    again = chooser.sample(trials, min(plan.repeats, len(trials)))
    repeated = [
        trial.model_copy(update={"id": f"r{number:02d}", "repeats": trial.id})
        for number, trial in enumerate(again, 1)
    ]
    return trials + repeated


def _checks(matched: Matched, plan: Plan, chooser: random.Random, book: _Book) -> list[Trial]:
    trials = []
    for number in range(1, plan.checks + 1):
        row = chooser.choice(matched)
        name = chooser.choice(sorted(row))
        video = book.use(name, row[name])
        told = number == plan.checks
        trials.append(
            Trial(
                id=f"c{number:02d}",
                kind="pair",
                a=video,
                b=video,
                caption=row[name].caption,
                say=told,
                spoil=None if told else chooser.choice(["a", "b"]),
            )
        )
    return trials


def _marks(
    systems: list[System], matched: Matched, plan: Plan, chooser: random.Random, book: _Book
) -> list[Trial]:
    deck = _dealt([(s.name, row) for s in systems for row in matched], plan.marks, chooser)
    return [
        Trial(
            id=f"m{number:02d}",
            kind="single",
            video=book.use(name, row[name]),
            caption=row[name].caption,
        )
        for number, (name, row) in enumerate(deck, 1)
    ]


def _dealt(cards: list[tuple[S, R]], wanted: int, chooser: random.Random) -> list[tuple[S, R]]:
    """`wanted` cards, as evenly as can be over their first field, then in random order."""
    suits: dict[S, list[tuple[S, R]]] = {}
    for card in cards:
        suits.setdefault(card[0], []).append(card)
    for suit in suits.values():
        chooser.shuffle(suit)
    dealt = [c for turn in itertools.zip_longest(*suits.values()) for c in turn if c is not None]
    dealt = dealt[:wanted]
    chooser.shuffle(dealt)
    return dealt


def _page(key: Key, book: _Book, post: str | None) -> str:
    """One file: style, script, videos and trials inside, and a policy that forbids all else."""
    folder = resources.files("vidgen.study") / "page"
    html, style, script = (
        (folder / f"study.{ending}").read_text(encoding="utf-8") for ending in ("html", "css", "js")
    )
    shown = {
        "study": key.study,
        "title": key.title,
        "post": post,
        "questions": [question.model_dump() for question in QUESTIONS],
        "videos": dict(sorted(book.data.items())),
        "trials": [trial.model_dump(exclude_defaults=True) for trial in key.trials],
    }
    data = json.dumps(shown, ensure_ascii=False).replace("<", "\\u003c")
    origin = ""
    if post:
        parts = urlsplit(post)
        origin = f"; connect-src {parts.scheme}://{parts.netloc}"
    for name, text in (
        ("%connect%", origin), ("%style%", style), ("%script%", script), ("%data%", data),
    ):  # fmt: skip
        html = html.replace(name, text, 1)
    return html


def _check_post(post: str | None) -> None:
    parts = urlsplit(post or "https://x")
    plain = not set(parts.netloc) & set("; '\"<>")
    if parts.scheme not in ("http", "https") or not parts.netloc or not plain:
        raise ConfigError(f"answers cannot be sent to {post!r}", expected="an https:// url")
