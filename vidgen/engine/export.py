"""model.safetensors: the averaged weights of a finished run, readable without pickle or vidgen."""

from __future__ import annotations

from safetensors.torch import save

from vidgen.engine.persist import persistently
from vidgen.engine.sharding import whole
from vidgen.engine.state import State
from vidgen.errors import NotFoundInStore
from vidgen.storage.run_folder import EXPORT, RunFolder


def export_model(state: State, folder: RunFolder, *, write: bool = True) -> None:
    """Write the model's state dict with averaged weights; the metadata names the step.

    Called on every rank, since each may hold a part; one of them has `write`.
    """
    model = state.objective.model
    with state.ema.applied():
        weights = {
            name: whole(value.detach()).to("cpu", copy=True).contiguous()
            for name, value in model.state_dict().items()
        }
    if write:
        text = {"format": "pt", "step": str(state.step)}
        persistently(lambda: folder.store.write(EXPORT, save(weights, metadata=text)))


def is_exported(folder: RunFolder) -> bool:
    try:
        folder.store.stat(EXPORT)
    except NotFoundInStore:
        return False
    return True
