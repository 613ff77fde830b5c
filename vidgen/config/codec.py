"""Which trained codec a model on latents builds on."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from pydantic import SerializeAsAny, field_validator

from vidgen.config.base import FamilyConfig, Strict


class CodecConfig(Strict):
    """A frozen codec: packs videos before the model and unpacks them after it."""

    run: str
    """Run folder of the codec, local or s3://; needed until training starts."""
    cache: str | None = None
    """Folder that `vidgen data encode` wrote, with the latents of clips it has seen; others are
    encoded as they come. Empty: all are."""
    model: SerializeAsAny[FamilyConfig] | None = None
    """The codec's own config; filled in when a run starts."""
    sha256: str = ""
    """Of the codec's weights; filled in when a run starts, checked when they are read."""

    @field_validator("model", mode="before")
    @classmethod
    def _model_of_family(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        # Not at import: the table of families knows families whose configs have a codec.
        families = import_module("vidgen.config.families")
        return families.config_class(value.get("family", "")).model_validate(value)

    def factors(self) -> tuple[int, int, int]:
        """What it divides time, height and width by; by 1 as long as it is not known."""
        found: tuple[int, int, int] = getattr(self.model, "factors", (1, 1, 1))
        return found
