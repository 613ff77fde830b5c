"""What lies behind an evaluation's scores, kept so that another run can be compared clip by clip.

    <score>          (N,) a number per clip, for scores that are means
    real/<features>  (N, F, D) features of the real clips, for scores of sets
    made/<features>  (N, F, D) of the videos generated for them, in the same order

One safetensors file beside the evaluated clips.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from safetensors.torch import load, save
from torch import Tensor

from vidgen.errors import NotFoundInStore
from vidgen.storage.run_folder import RunFolder, step_name

Values = Mapping[str, Tensor]


def write_values(folder: RunFolder, step: int, values: Values) -> None:
    """Write the values of an evaluation, as float32."""
    packed = {name: value.float().contiguous() for name, value in values.items()}
    folder.store.write(_key(step), save(packed))


def read_values(folder: RunFolder, step: int) -> Values:
    """Read them back, as float64; empty when the evaluation left none."""
    try:
        data = folder.store.read(_key(step))
    except NotFoundInStore:
        return {}
    return {name: value.to(torch.float64) for name, value in load(data).items()}


def _key(step: int) -> str:
    return f"eval/{step_name(step)}/values.safetensors"
