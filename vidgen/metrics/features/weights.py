"""Weights of other people's networks: given or downloaded when asked, and always hashed."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from vidgen.errors import EvaluationError
from vidgen.storage.cache_folder import cache_folder

FOLDER = "weights"  # of the cache folder
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Weights:
    """One published file.

    Attributes:
        file: its usual name.
        sha256: of its bytes; a file with another hash is never loaded.
        megabytes: its size.
        url: where `--download` gets it.
    """

    file: str
    sha256: str
    megabytes: int
    url: str


def find(weights: Weights, *, extractor: str, path: Path | None, download: bool) -> Path:
    """The weights file, hash checked: `path`, else an earlier download, else a new one if asked.

    Raises:
        EvaluationError: missing, of another hash, or the download failed.
    """
    kept = cache_folder() / FOLDER / weights.file
    if path is None and not kept.is_file():
        if not download:
            raise EvaluationError(
                f"extractor {extractor} needs the weights {weights.file} ({weights.megabytes} MB)",
                fix=f"Give --weights {extractor}=PATH, or --download to fetch {weights.url}.",
            )
        _download(weights, kept)
    found = path or kept
    if not found.is_file():
        raise EvaluationError(
            f"no such weights file for extractor {extractor}: {found}",
            expected=f"{weights.file} from {weights.url}",
        )
    hashed = sha256(found)
    if hashed != weights.sha256:
        raise EvaluationError(
            f"{found} is not {weights.file}: its sha256 is {hashed}",
            expected=weights.sha256,
            fix="Scores from other weights compare with nobody's; get the original file.",
        )
    return found


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _download(weights: Weights, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    part = tempfile.NamedTemporaryFile(dir=to.parent, prefix=to.name, delete=False)  # noqa: SIM115
    try:
        with part, urlopen(weights.url, timeout=60) as answer:
            while chunk := answer.read(_CHUNK):
                part.write(chunk)
        os.replace(part.name, to)
    except (URLError, OSError) as error:
        Path(part.name).unlink(missing_ok=True)
        raise EvaluationError(
            f"could not download {weights.url}: {error}",
            fix=f"Fetch it by other means and put it at {to}.",
        ) from None
