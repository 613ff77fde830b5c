"""`vidgen data encode`: run the codec of a run over its data set, once and for all."""

from __future__ import annotations

import torch
from torch import Tensor

from vidgen.config.run import RunConfig
from vidgen.data.loader import eval_batches
from vidgen.engine.codec import codec_of, install_codec
from vidgen.engine.continuing import with_dataset
from vidgen.engine.latents import write_latents
from vidgen.errors import ConfigError
from vidgen.models.base import build_objective
from vidgen.models.codec import Codec, content_keys
from vidgen.observe.bar import Tell, nobody


@torch.no_grad()
def encode(config: RunConfig, url: str, *, tell: Tell = nobody) -> int:
    """Write the latents of the middle window of every training and validation clip; how many.

    Where clips are as long as the run's windows, that is all there is to see of them; of longer
    ones training also draws other windows, which it encodes as they come.

    Raises ConfigError if the run's model has no codec.
    """
    wanted = codec_of(config)
    if wanted is None:
        raise ConfigError(
            f"the model of '{config.name}' works on pixels: there is nothing to encode",
            expected="a run config with model.codec",
        )
    fresh = wanted.model_copy(update={"cache": None})
    config = config.model_copy(update={"model": config.model.model_copy(update={"codec": fresh})})
    config, dataset = with_dataset(config)
    known = codec_of(config)
    assert known is not None
    objective = build_objective(config)
    install_codec(objective, config)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    codec = objective.model.get_submodule("codec").to(device).eval()
    assert isinstance(codec, Codec)
    clips = {split: len(dataset.usable(split, config)) for split in ("train", "val")}
    found: dict[bytes, Tensor] = {}
    done = 0
    for split, count in clips.items():
        for held_out in eval_batches(
            dataset, config, split=split, limit=count,
            batch_size=config.sampling.batch_size, conditions=(),
        ):  # fmt: skip
            video = held_out.batch.video
            latents = codec.encode(video.to(device)).cpu()
            found.update(zip(content_keys(video), latents, strict=True))
            done += len(video)
            tell(split, done, sum(clips.values()))
    write_latents(url, config, known.sha256, found)
    return len(found)
