"""What an evaluation leaves in a run folder: eval.json, and the clips it looked at beside it.

eval.json is the last evaluation. Each one is also kept as eval/step_XXXXXXXX/scores_<digest>.json,
one per seed, guidance scale and protocol, so that scores over steps and over seeds can be told.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any

from vidgen.errors import EvaluationError, NotFoundInStore
from vidgen.metrics.score import Score
from vidgen.observe.score_metrics import export_scores
from vidgen.storage.run_folder import EVAL, RunFolder, step_name

FORMAT = 1
_LOSS = "validation_loss"
_KEPT = re.compile(r"eval/step_\d{8}/scores_[0-9a-f]{12}\.json")


@dataclass(frozen=True, kw_only=True)
class ScoredClip:
    """A held-out clip and the video generated from its condition.

    Attributes:
        real, generated: keys of MP4 files in the run folder.
        source: file the real clip was cut from.
        caption, label: what the model may have been told; '' when the data has none.
        asked, seen: attributes in the caption, and those a judge read out of the generated video.
    """

    real: str
    generated: str
    source: str
    caption: str = ""
    label: str = ""
    asked: dict[str, str] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of one checkpoint, clips to look at, and remarks on what could not be scored."""

    step: int
    time: float
    parameters: int
    scores: list[Score]
    clips: list[ScoredClip]
    notes: list[str]

    def pairs(self, other: Evaluation) -> list[tuple[Score, Score]]:
        """Scores of generated videos, by name. Raises EvaluationError if none is in both.

        A family's own loss is left out beside that of another family.
        """
        theirs = {s.name: s for s in other.scores if s.subject.kind == "generated"}
        mine = [s for s in self.scores if s.subject.kind == "generated" and s.name in theirs]
        found = [
            (score, against)
            for score in mine
            for against in [theirs[score.name]]
            if score.name != _LOSS or score.protocol.extractor == against.protocol.extractor
        ]
        if not found:
            raise EvaluationError("the two runs have no score in common")
        return found

    @property
    def key(self) -> str:
        """Where it is kept in the run folder."""
        how = sorted(
            {
                (s.name, str(s.protocol), s.subject.seed, s.subject.guidance)
                for s in self.scores
                if s.subject.kind == "generated"
            },
            key=str,
        )
        digest = hashlib.sha256(json.dumps(how).encode()).hexdigest()[:12]
        return f"eval/{step_name(self.step)}/scores_{digest}.json"

    def to_json(self) -> dict[str, Any]:
        """What eval.json holds."""
        fields = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        return {
            "format": FORMAT,
            **fields,
            "scores": [score.to_json() for score in self.scores],
            "clips": [dataclasses.asdict(clip) for clip in self.clips],
        }

    def write(self, folder: RunFolder) -> None:
        """Into the run folder, and to the exporter."""
        folder.write_json(self.key, self.to_json())
        folder.write_json(EVAL, self.to_json())
        export_scores(
            folder.url,
            [
                (score.name, str(score.protocol), score.value)
                for score in self.scores
                if score.subject.kind == "generated"
            ],
        )

    @classmethod
    def read(cls, folder: RunFolder) -> Evaluation:
        """A run's stored evaluation.

        Raises NotFoundInStore when the run has none, EvaluationError when it cannot be understood.
        """
        try:
            return cls._read(folder, EVAL)
        except NotFoundInStore:
            raise NotFoundInStore(
                f"{folder.url} has no {EVAL}", fix=f"Make it with: vidgen evaluate {folder.url}"
            ) from None

    @classmethod
    def read_all(cls, folder: RunFolder) -> list[Evaluation]:
        """Every evaluation kept in a run folder, in order of steps, then of time."""
        keys = [stat.key for stat in folder.store.list("eval/") if _KEPT.fullmatch(stat.key)]
        return sorted((cls._read(folder, key) for key in keys), key=lambda e: (e.step, e.time))

    @classmethod
    def _read(cls, folder: RunFolder, key: str) -> Evaluation:
        again = "Run `vidgen evaluate` again with this version."
        try:
            value = folder.read_json(key)
            fields = dict(value)
            if fields.pop("format") != FORMAT:
                raise EvaluationError(
                    f"{folder.url}/{key} has format {value['format']}, not {FORMAT}", fix=again
                )
            scores = [Score.from_json(each) for each in fields.pop("scores")]
            clips = [ScoredClip(**each) for each in fields.pop("clips")]
            return cls(**fields, scores=scores, clips=clips)
        except (KeyError, TypeError, ValueError) as error:
            raise EvaluationError(
                f"{folder.url}/{key} is not an evaluation: {error!r}", fix=again
            ) from None
