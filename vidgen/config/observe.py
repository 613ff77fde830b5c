"""Where the numbers of a run go besides metrics.jsonl and the exporter."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from vidgen.config.base import Strict


class MlflowConfig(Strict):
    """An MLflow server. MLFLOW_TRACKING_USERNAME, _PASSWORD or _TOKEN let us in."""

    uri: str | None = None
    """Server or file: folder; empty: MLFLOW_TRACKING_URI."""
    experiment: str = "vidgen"

    @field_validator("uri")
    @classmethod
    def _without_secrets(cls, uri: str | None) -> str | None:
        # A config is written into the run folder, where many may read it.
        if uri is not None and "@" in urlsplit(uri).netloc:
            raise ValueError(
                "mlflow.uri holds a user or password; set MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD instead"
            )
        return uri


class WandbConfig(Strict):
    """Weights & Biases. WANDB_API_KEY lets us in."""

    project: str = "vidgen"
    entity: str | None = Field(default=None)
    """User or team; empty: the key's own."""
    mode: Literal["online", "offline"] = "online"
    """offline keeps everything in the working folder, for `wandb sync`."""


class ObserveConfig(Strict):
    """More places that the lines of metrics.jsonl go to; each needs its extra installed."""

    tensorboard: bool = False
    """Event files in the run folder's tensorboard/."""
    mlflow: MlflowConfig | None = None
    wandb: WandbConfig | None = None
