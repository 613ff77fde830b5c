"""Config of the duet."""

from __future__ import annotations

from typing import ClassVar, Literal

from vidgen.config.base import FamilyConfig


class Config(FamilyConfig):
    reads: ClassVar = frozenset({"label", "text", "image", "sketch", "past"})
    family: Literal["duet"] = "duet"
    width: int = 16
    explode_at: int = -1
    """Step whose loss is not a number; -1: none."""
    slow_s: float = 0.0
    """Seconds that each step sleeps."""
    hang_at: int = -1
    """Step in which one rank hangs; -1: none."""
    hang_rank: int = 0
    hang_once: str = ""
    """File that is made by the first to hang; while it is there nobody hangs. Empty: always."""
    journal: str = ""
    """File to which rank 0 appends the number of every step it does."""
    gate_at: int = -1
    """Step that waits until the file `gate` is there; -1: none."""
    gate: str = ""
    hungry_at: int = -1
    """Step that asks for more memory than any machine has; -1: none."""
