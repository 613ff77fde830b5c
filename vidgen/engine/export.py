"""model.safetensors: the averaged weights of a finished run, readable without pickle or vidgen."""

from __future__ import annotations

from safetensors.torch import save

from vidgen.engine.state import State
from vidgen.errors import NotFoundInStore
from vidgen.storage.run_folder import EXPORT, RunFolder


def export_model(state: State, folder: RunFolder) -> None:
    """Write the model's state dict with averaged weights; the metadata names the step."""
    model = state.objective.model
    with state.ema.applied():
        weights = {
            name: value.detach().to("cpu", copy=True).contiguous()
            for name, value in model.state_dict().items()
        }
    folder.store.write(EXPORT, save(weights, metadata={"format": "pt", "step": str(state.step)}))


def is_exported(folder: RunFolder) -> bool:
    try:
        folder.store.stat(EXPORT)
    except NotFoundInStore:
        return False
    return True
