"""Where this machine keeps what can be made or fetched again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """VIDGEN_CACHE, or vidgen in the user's cache folder."""
    if given := os.environ.get("VIDGEN_CACHE"):
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "vidgen"
