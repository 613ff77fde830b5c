"""Latents of clips, written once by `vidgen data encode` and verified before they are used.

latents.json           format, sha256 of the codec's weights and of the other file, counts
latents.safetensors    keys (N, 32) uint8, what each clip shows; latents (N, Z, t, h, w) fp16
"""

from __future__ import annotations

import hashlib
import json

import torch
from safetensors.torch import load, save
from torch import Tensor

from vidgen.config.run import RunConfig
from vidgen.errors import ModelError, NotFoundInStore
from vidgen.storage.open import open_store

INDEX, DATA, FORMAT = "latents.json", "latents.safetensors", 1


def write_latents(url: str, config: RunConfig, codec: str, found: dict[bytes, Tensor]) -> None:
    """Write latents by content key; `codec` is the sha256 of the codec's weights."""
    store = open_store(url, config.storage)
    keys = torch.tensor([list(key) for key in found], dtype=torch.uint8)
    data = save({"keys": keys, "latents": torch.stack(list(found.values())).half()})
    store.write(DATA, data)
    index = {
        "format": FORMAT,
        "codec": codec,
        "sha256": hashlib.sha256(data).hexdigest(),
        "clips": len(found),
    }
    store.write(INDEX, json.dumps(index, indent=2).encode())  # last: what has it is whole


def read_latents(url: str, config: RunConfig, codec: str) -> dict[bytes, Tensor]:
    """Read them back, by content key.

    Raises ModelError if there are none, another codec made them, or they are damaged.
    """
    store = open_store(url, config.storage)
    again = "Write them with `vidgen data encode`, or leave model.codec.cache empty."
    try:
        index = json.loads(store.read(INDEX))
        data = store.read(DATA)
    except NotFoundInStore:
        raise ModelError(f"model.codec.cache: no latents in {url}", fix=again) from None
    except ValueError:
        raise ModelError(f"model.codec.cache: {url}/{INDEX} is not JSON", fix=again) from None
    if index.get("format") != FORMAT:
        raise ModelError(f"model.codec.cache: {url} has format {index.get('format')}", fix=again)
    if index["codec"] != codec:
        raise ModelError(
            f"model.codec.cache: the latents in {url} are of codec {index['codec'][:12]}, "
            f"the run has {codec[:12]}",
            fix=again,
        )
    if hashlib.sha256(data).hexdigest() != index["sha256"]:
        raise ModelError(f"model.codec.cache: {url}/{DATA} is damaged", fix=again)
    tensors = load(data)
    keys = [bytes(key.tolist()) for key in tensors["keys"]]
    return dict(zip(keys, tensors["latents"], strict=True))
