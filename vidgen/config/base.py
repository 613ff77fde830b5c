"""What config models are made of: their strict base, kinds of numbers, the families' base."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

ConditionName = Literal["label", "text", "image", "sketch", "past"]
PositiveInt = Annotated[int, Field(gt=0)]
Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Ratio = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Strict(BaseModel):
    """Unknown keys are errors, values do not change after loading, 'yes' is no boolean."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, use_attribute_docstrings=True
    )


class FamilyConfig(Strict):
    """What every model family has; each family's config.py extends it."""

    family: str
    """Name of the model family, a row of FAMILIES, or the import path of a package of your own."""
    conditions: tuple[ConditionName, ...] = ()
    """What the model is told about a clip: label, text, image (first frame), sketch, past."""
    past_frames: int = Field(default=0, ge=0)
    """How many frames `past` holds; they precede the generated ones."""

    any_size: ClassVar[bool] = False
    """Whether the network also trains on clips smaller than those it is built for."""
    reads: ClassVar[frozenset[ConditionName]] = frozenset()
    """Conditions that models of the family can be built with; RunConfig checks."""
    needs: ClassVar[frozenset[ConditionName]] = frozenset()
    """Conditions without which they make nothing."""
    free: ClassVar[frozenset[str]] = frozenset()
    """Keys that trained weights do not depend on: of training itself, or of sampling."""

    @model_validator(mode="after")
    def _past_has_frames(self) -> FamilyConfig:
        if ("past" in self.conditions) != (self.past_frames > 0):
            raise ValueError("condition 'past' and past_frames > 0 go together")
        return self

    def check_video(self, *, frames: int, height: int, width: int) -> None:
        """Raise ValueError if clips of this size cannot go through the model."""
