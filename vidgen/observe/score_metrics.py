"""Scores of an evaluation on the exporter's port, for as long as a finished process is shown."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from vidgen.observe.exporter import Exporter
from vidgen.observe.metric_table import EVALUATION_SCORE
from vidgen.storage.run_folder import run_label


def export_scores(run: str, scores: Iterable[tuple[str, str, float]]) -> None:
    """Export (name, protocol, value) of a run folder's scores, where a port is asked for."""
    with Exporter(run=run_label(run), of="scores") as exporter:
        for name, protocol, value in scores:
            digest = hashlib.sha256(protocol.encode()).hexdigest()[:8]
            exporter.board.set(EVALUATION_SCORE, value, score=name, protocol=digest)
