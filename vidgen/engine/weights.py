"""Which step the weights that a run hands out are from."""

from __future__ import annotations

import json

from vidgen.engine.export import is_exported
from vidgen.errors import CheckpointError
from vidgen.storage.run_folder import EXPORT, RunFolder


def weights_step(folder: RunFolder, step: int | None = None) -> int:
    """The step that `load_model(folder.url, step)` loads; reads no weights.

    Raises CheckpointError when the export does not say, or nothing has been saved.
    """
    if step is None and is_exported(folder):
        # safetensors: 8 bytes of header length, then the header, JSON with the file's metadata.
        size = int.from_bytes(folder.store.read_range(EXPORT, 0, 8), "little")
        try:
            header = json.loads(folder.store.read_range(EXPORT, 8, size))
            return int(header["__metadata__"]["step"])
        except (ValueError, KeyError) as error:
            raise CheckpointError(
                f"{folder.url}/{EXPORT} does not name its step: {error}"
            ) from None
    folder.checkpoint(step)  # raises, saying what there is
    return folder.checkpoint_steps()[-1] if step is None else step
