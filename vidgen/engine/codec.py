"""The frozen codec of a model on latents: found and identified when a run starts, then loaded."""

from __future__ import annotations

import hashlib
from typing import Any

from safetensors.torch import load

from vidgen.config.codec import CodecConfig
from vidgen.config.load import recipe_names
from vidgen.config.run import RunConfig
from vidgen.engine.latents import read_latents
from vidgen.errors import CheckpointError, ConfigError, ModelError, NotFoundInStore
from vidgen.models.base import Objective
from vidgen.models.codec import KnownLatents
from vidgen.storage.run_folder import EXPORT, RunFolder


def with_codec(config: RunConfig) -> RunConfig:
    """The config, knowing what codec its model builds on; as it is when it has none.

    Raises ConfigError if there is no finished run where the config says, or its codec does not fit,
    ModelError if its weights are not those that the config names.
    """
    wanted = codec_of(config)
    if wanted is None:
        return config
    found = _weights(wanted, config)
    digest = hashlib.sha256(found).hexdigest()
    if wanted.sha256 and wanted.sha256 != digest:
        raise _other(wanted, digest)
    known = wanted.model_copy(
        update={"model": RunFolder(wanted.run, config.storage).config().model, "sha256": digest}
    )
    values: dict[str, Any] = config.model.model_dump() | {"codec": known.model_dump()}
    model = type(config.model).model_validate(values)
    try:
        model.check_video(
            frames=config.data.frames, height=config.data.height, width=config.data.width
        )
    except ValueError as error:
        raise ConfigError(f"the codec of {wanted.run} does not fit the run: {error}") from None
    return config.model_copy(update={"model": model})


def codec_of(config: RunConfig) -> CodecConfig | None:
    """What a run's model says about its codec."""
    found = getattr(config.model, "codec", None)
    assert found is None or isinstance(found, CodecConfig)
    return found


def install_codec(objective: Objective, config: RunConfig) -> None:
    """Load a fresh model's codec; what a checkpoint of the run holds is read over it later.

    Raises ModelError for weights of another hash or shape.
    """
    wanted = codec_of(config)
    if wanted is None:
        return
    try:
        found = _weights(wanted, config)
    except ConfigError:
        # A run that goes on has the codec in its own checkpoints.
        if config.run is None or not RunFolder(config.run, config.storage).checkpoint_steps():
            raise
        return
    digest = hashlib.sha256(found).hexdigest()
    if digest != wanted.sha256:
        raise _other(wanted, digest)
    try:
        objective.model.get_submodule("codec").load_state_dict(load(found))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ModelError(
            f"the weights of codec {wanted.run} do not fit its config: {reason}",
            fix="Train the codec again, or name another with model.codec.run.",
        ) from None
    if wanted.cache is not None:
        known: KnownLatents = getattr(objective.model, "known")  # noqa: B009 - no module
        known.update(read_latents(wanted.cache, config, wanted.sha256))


def _weights(wanted: CodecConfig, config: RunConfig) -> bytes:
    folder = RunFolder(wanted.run, config.storage)
    try:
        found: bytes = folder.store.read(EXPORT)
    except NotFoundInStore:
        named = wanted.run.rstrip("/").rpartition("/")[2]
        recipe = named if named in recipe_names() else "shapes-vae"
        raise ConfigError(
            f"model.codec.run: no trained codec in {wanted.run} ({EXPORT} is missing)",
            expected="the run folder of a finished run of family 'vae'",
            fix=f"Train one there first: vidgen train {recipe} --set run={wanted.run}",
        ) from None
    except CheckpointError as error:
        raise ConfigError(f"model.codec.run: {error}") from None
    return found


def _other(wanted: CodecConfig, digest: str) -> ModelError:
    return ModelError(
        f"the codec in {wanted.run} has sha256 {digest[:12]}, the run was made with "
        f"{wanted.sha256[:12]}",
        fix="Put the codec of then back, or start a new run with the new one.",
    )
