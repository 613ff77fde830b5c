"""One line of `vidgen-cloud doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the doctor."""

    level: Literal["ok", "warning", "failure"]
    check: str
    text: str
    fix: str = ""


def ok(check: str, text: str) -> Finding:
    return Finding(level="ok", check=check, text=text)


def warning(check: str, text: str, fix: str) -> Finding:
    return Finding(level="warning", check=check, text=text, fix=fix)


def failure(check: str, text: str, fix: str) -> Finding:
    return Finding(level="failure", check=check, text=text, fix=fix)
