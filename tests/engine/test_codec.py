"""Models on latents: their codec is found, identified, loaded, cached, and videos made over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine.command_line import call
from engine.conftest import MakeConfig
from safetensors.torch import load, save

from vidgen.config.load import dump
from vidgen.config.run import RunConfig
from vidgen.data.encode import encode_mp4
from vidgen.data.video import decode
from vidgen.engine.checkpoint import load_checkpoint
from vidgen.engine.codec import with_codec
from vidgen.engine.distributed import Ranks
from vidgen.engine.encode import encode
from vidgen.engine.generate import generate
from vidgen.engine.load import load_model
from vidgen.engine.prompts import Prompt
from vidgen.engine.state import State
from vidgen.engine.train import train
from vidgen.errors import ConfigError, ModelError
from vidgen.models.codec import Codec
from vidgen.storage.run_folder import EXPORT, RunFolder

VAE: dict[str, Any] = {
    "family": "vae", "conditions": [], "patch": [2, 2, 2], "widths": [8], "blocks": [1],
    "shrink": [], "latent_channels": 4,
}  # fmt: skip
FLOW: dict[str, Any] = {
    "family": "flow", "conditions": ["label"], "patch": [1, 2, 2], "width": 24, "heads": 2,
    "depth": 1, "sample_steps": 4,
}  # fmt: skip


@pytest.fixture
def codec(make_config: MakeConfig, tmp_path: Path) -> str:
    return train(make_config(run=str(tmp_path / "vae"), model=VAE))


def flow_config(make_config: MakeConfig, codec: str, tmp_path: Path, **more: Any) -> RunConfig:
    model = {**FLOW, "codec": {"run": codec, **more}}
    labels = {"labels": ["dark", "light"]}
    return make_config(run=str(tmp_path / "flow"), model=model, data=labels)


def test_a_finished_codec_is_calibrated_and_gives_videos_back(codec: str) -> None:
    model, config = load_model(codec)
    assert isinstance(model, Codec)
    assert (model.std != 1).all()
    video = torch.rand(2, 3, config.data.frames, 8, 8) * 2 - 1
    assert model.decode(model.encode(video)).shape == video.shape


def test_a_latent_run_needs_its_codec_only_to_start(
    make_config: MakeConfig, codec: str, tmp_path: Path
) -> None:
    config = flow_config(make_config, codec, tmp_path)
    made_at = train(config)
    model, made = load_model(made_at)
    own = load(RunFolder(codec).store.read(EXPORT))
    held = {k.removeprefix("codec."): v for k, v in model.state_dict().items() if "codec." in k}
    assert all(torch.equal(own[name], held[name]) for name in own)  # frozen all along
    assert len(own) == len(held)
    assert made.model.codec.sha256  # type: ignore[attr-defined]

    RunFolder(codec).store.delete(EXPORT)
    state = State(made, torch.device("cpu"))
    assert load_checkpoint(RunFolder(made_at), state.tree, Ranks(), say=print) == 8
    again, _ = load_model(made_at)
    first, second = (
        generate(made_at, Prompt(), n=1, out=str(tmp_path / name), seed=3).files for name in "ab"
    )
    assert np.array_equal(
        *(decode(tmp_path / n / f[0], fps=8) for n, f in zip("ab", (first, second), strict=True))
    )
    assert again.video_shape == (3, 4, 8, 8)


def test_codecs_that_will_not_do(make_config: MakeConfig, codec: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no trained codec in .*nowhere \(model.safetensors"):
        with_codec(flow_config(make_config, str(tmp_path / "nowhere"), tmp_path))
    with pytest.raises(ConfigError, match=r"vidgen train shapes-vae-tokens --set run=\S+-tokens$"):
        with_codec(flow_config(make_config, str(tmp_path / "shapes-vae-tokens"), tmp_path))
    with pytest.raises(ModelError, match=r"has sha256 .*, the run was made with 0000"):
        with_codec(flow_config(make_config, codec, tmp_path, sha256="0000"))
    known = with_codec(flow_config(make_config, codec, tmp_path))
    model = {**FLOW, "codec": {"run": codec}, "patch": [1, 8, 8]}
    with pytest.raises(ConfigError, match=r"8 must be a multiple of model.patch's 8 times"):
        with_codec(make_config(model=model))
    duet = train(make_config(run=str(tmp_path / "duet")))
    with pytest.raises(ModelError, match=r"is a run of family 'duet'; expected one that packs"):
        State(with_codec(flow_config(make_config, duet, tmp_path)), torch.device("cpu"))
    tokens = {"family": "autoregressive", "conditions": [], "width": 24, "heads": 2}
    words = make_config(model={**tokens, "codec": {"run": codec}})
    with pytest.raises(ModelError, match="has no tokens"):
        State(with_codec(words), torch.device("cpu"))

    folder = RunFolder(codec)
    weights = load(folder.store.read(EXPORT))
    weights["mean"] = torch.zeros(5)
    folder.store.write(EXPORT, save(weights))
    with pytest.raises(ModelError, match="has sha256"):
        State(known, torch.device("cpu"))
    with pytest.raises(ModelError, match=r"do not fit its config: .*mean"):
        State(with_codec(flow_config(make_config, codec, tmp_path)), torch.device("cpu"))


def test_latents_are_written_once_and_verified(
    make_config: MakeConfig, codec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = flow_config(make_config, codec, tmp_path)
    cache = tmp_path / "latents"
    assert encode(config, str(cache)) == 10  # different ones among the 20
    cached = with_codec(flow_config(make_config, codec, tmp_path, cache=str(cache)))
    state, plain = (State(c, torch.device("cpu")) for c in (cached, with_codec(config)))
    from vidgen.data.ensure import ensure_dataset
    from vidgen.data.loader import eval_batches

    held_out = next(
        eval_batches(ensure_dataset(cached), cached, split="val", limit=4, batch_size=4)
    )
    fresh = plain.objective.model.seen(held_out.batch.video)  # type: ignore[operator]
    model = state.objective.model
    with monkeypatch.context() as patch:
        patch.setattr(Codec, "encode", lambda *_: pytest.fail("it is known"))
        known = model.seen(held_out.batch.video)  # type: ignore[operator]
    torch.testing.assert_close(known, fresh, rtol=1e-2, atol=2e-3)  # kept in half precision
    other = torch.rand_like(held_out.batch.video)
    mixed = torch.cat([held_out.batch.video[:1], other[:1]])
    assert model.seen(mixed).shape == (2, *known.shape[1:])  # type: ignore[operator]

    index = json.loads((cache / "latents.json").read_text())
    data = (cache / "latents.safetensors").read_bytes()
    (cache / "latents.safetensors").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ModelError, match="is damaged"):
        State(cached, torch.device("cpu"))
    (cache / "latents.json").write_text(json.dumps(index | {"codec": "f" * 64}))
    with pytest.raises(ModelError, match=r"are of codec ffffffffffff, the run has"):
        State(cached, torch.device("cpu"))
    (cache / "latents.json").unlink()
    with pytest.raises(ModelError, match="no latents in"):
        State(cached, torch.device("cpu"))
    with pytest.raises(ConfigError, match="works on pixels: there is nothing to encode"):
        encode(make_config(model={**FLOW, "patch": [2, 4, 4]}), str(cache))


def test_a_video_is_made_over(make_config: MakeConfig, tmp_path: Path) -> None:
    made_at = train(make_config(model={**FLOW, "patch": [2, 4, 4]}))
    frames = np.full((6, 8, 8, 3), 60, np.uint8)
    source = tmp_path / "source.mp4"
    source.write_bytes(encode_mp4(frames, 8, crf=1))
    far = []
    for strength in (0.0, 0.5, 1.0):
        out = tmp_path / str(strength)
        made = generate(
            made_at, Prompt(label="light"), n=1, out=str(out), source=source, strength=strength
        )
        video = decode(out / made.files[0], fps=8, size=(8, 8))
        far.append(float(np.abs(video.astype(float) - 60).mean()))
    assert far[0] < 3  # the codec of the file alone
    assert far[0] < far[1] < far[2]
    assert made.record["strength"] == 1.0
    duet = train(make_config(run=str(tmp_path / "duet")))
    with pytest.raises(ModelError, match="cannot make videos over"):
        generate(duet, Prompt(), out=str(tmp_path / "x"), source=source)
    short = tmp_path / "short.mp4"
    short.write_bytes(encode_mp4(frames[:2], 8))
    from vidgen.errors import DataError

    with pytest.raises(DataError, match="has 2 frames at 8 per second; expected at least 4"):
        generate(made_at, Prompt(), out=str(tmp_path / "y"), source=short)


def test_dump_of_a_latent_run_reads_back(
    make_config: MakeConfig, codec: str, tmp_path: Path
) -> None:
    from vidgen.config.load import parse_run

    config = with_codec(flow_config(make_config, codec, tmp_path))
    assert parse_run(dump(config), "again") == config


def test_commands(
    make_config: MakeConfig, codec: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """`vidgen data encode`, training from what it wrote, `vidgen generate --from`."""

    def vidgen(*argv: str | Path) -> str:
        assert call(*argv) == 0
        return capfd.readouterr().out

    file, cache = tmp_path / "flow.yaml", tmp_path / "latents"
    file.write_text(dump(flow_config(make_config, codec, tmp_path)))
    told = vidgen("data", "encode", file, cache)
    assert f"latents of 10 clips in {cache}" in told
    vidgen("train", file, "--set", f"model.codec.cache={cache}", "--set", "train.steps=2")
    (tmp_path / "a.mp4").write_bytes(encode_mp4(np.zeros((6, 8, 8, 3), np.uint8), 8))
    told = vidgen(
        "generate", tmp_path / "flow", "--from", tmp_path / "a.mp4", "--strength", "0.3",
        "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    record = json.loads(told)
    assert (record["from"], record["strength"]) == (str(tmp_path / "a.mp4"), 0.3)
    assert len(list((tmp_path / "out").glob("*.mp4"))) == 4
