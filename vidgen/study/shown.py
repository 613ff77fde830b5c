"""The videos of a study, out of its page."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

from vidgen.errors import EvaluationError
from vidgen.study.model import Key

_DATA = re.compile(r'<script type="application/json" id="study">(.*?)</script>', re.S)


def read_videos(page: Path, key: Key) -> dict[str, bytes]:
    """Video files by the key's numbers. Raises EvaluationError for a page that is not the key's."""
    try:
        found = _DATA.search(page.read_text(encoding="utf-8"))
    except OSError as error:
        raise EvaluationError(f"cannot read {page}: {error.strerror}") from None
    shown = json.loads(found[1]) if found else {}
    if shown.get("study") != key.study:
        raise EvaluationError(
            f"{page} is not the page of study {key.study}",
            fix="Keep page/index.html and key.json of a study together.",
        )
    return {
        name: base64.b64decode(text.partition(",")[2]) for name, text in shown["videos"].items()
    }
