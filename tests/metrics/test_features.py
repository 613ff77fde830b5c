"""Extractors: one interface, honest names, weights that are hashed; what st-stats can see."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vidgen.errors import ConfigError, EvaluationError
from vidgen.metrics.encoder.worlds import make_worlds
from vidgen.metrics.features import r3d18, table, vit, weights
from vidgen.metrics.features.table import EXTRACTORS, build_extractor, score_names
from vidgen.metrics.perceptual import VideoPerceptual

BUILT_IN = [name for name, row in EXTRACTORS.items() if row.weights is None]


def noise_video(n: int = 2, frames: int = 8, size: int = 32) -> Tensor:
    shape = (n, 3, frames, size, size)
    return torch.randint(
        0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


@pytest.mark.parametrize("name", BUILT_IN)
class TestContract:
    def test_shape_and_repeatability(self, name: str) -> None:
        extractor = build_extractor(name)
        video = noise_video()
        found = extractor(video)
        rows = 2 * 8 if extractor.per == "frame" else 2
        assert found.shape == (rows, extractor.dim)
        assert found.dtype == torch.float32
        assert found.isfinite().all()
        assert torch.equal(found, build_extractor(name)(video))

    def test_a_video_does_not_depend_on_its_batch(self, name: str) -> None:
        extractor = build_extractor(name)
        video = noise_video(3)
        alone = torch.cat([extractor(v) for v in video.split(1)])
        torch.testing.assert_close(extractor(video), alone, atol=1e-4, rtol=1e-4)

    @pytest.mark.parametrize("value", [0, 255])
    def test_flat_video_is_finite(self, name: str, value: int) -> None:
        flat = torch.full((1, 3, 8, 16, 16), value, dtype=torch.uint8)
        assert build_extractor(name)(flat).isfinite().all()

    @pytest.mark.parametrize(
        "video",
        [torch.zeros(1, 3, 8, 16, 16), torch.zeros(3, 8, 16, 16, dtype=torch.uint8)],
        ids=["float", "no batch"],
    )
    def test_wrong_input(self, name: str, video: Tensor) -> None:
        with pytest.raises(EvaluationError, match=r"expected uint8 of shape \(B, 3, T, H, W\)"):
            build_extractor(name)(video)

    def test_takes_no_path(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="takes no weights file"):
            build_extractor(name, path=tmp_path / "x.pt")


def test_too_few_frames() -> None:
    with pytest.raises(EvaluationError, match="needs videos of at least 4 frames, got 3"):
        build_extractor("st-stats")(noise_video(frames=3))


def test_names_are_earned() -> None:
    """Only the networks that define them give the words FID, KID, IS and FVD."""
    earned = {"fid", "kid", "is", "fvd"}
    for name in EXTRACTORS:
        names = score_names(name)
        used = {names.frechet, names.kernel, names.classes} & earned
        assert used == {"inception": {"fid", "kid", "is"}, "i3d": {"fvd"}}.get(name, set())
    assert score_names("st-stats").frechet == "fd_st-stats"


def test_unknown_name() -> None:
    with pytest.raises(ConfigError, match="did you mean 'inception'"):
        build_extractor("incepton")


class TestWeights:
    @pytest.fixture(autouse=True)
    def _own_cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VIDGEN_CACHE", str(tmp_path / "cache"))

    @pytest.mark.parametrize("name", [n for n in EXTRACTORS if n not in BUILT_IN])
    def test_missing(self, name: str, tmp_path: Path) -> None:
        """Nothing is downloaded and nothing replaces them, unless asked."""
        with pytest.raises(EvaluationError, match=f"Give --weights {name}=PATH, or --download"):
            build_extractor(name)
        with pytest.raises(EvaluationError, match=r"no such weights file .*nowhere"):
            build_extractor(name, path=tmp_path / "nowhere.pt", download=True)

    def test_wrong_hash(self, tmp_path: Path) -> None:
        other = tmp_path / "i3d_torchscript.pt"
        other.write_bytes(b"something else")
        wanted = EXTRACTORS["i3d"].weights
        assert wanted is not None
        with pytest.raises(EvaluationError, match=f"is not i3d_torchscript.pt.*{wanted.sha256}"):
            build_extractor("i3d", path=other)

    def publish(self, monkeypatch: pytest.MonkeyPatch, name: str, file: Path) -> None:
        """Let the table expect this file."""
        row = EXTRACTORS[name]
        assert row.weights is not None
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        entry = dataclasses.replace(row.weights, sha256=digest, url=file.as_uri())
        monkeypatch.setitem(table.EXTRACTORS, name, dataclasses.replace(row, weights=entry))

    def test_download_once_asked_and_keep(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = tmp_path / "published.pth"
        torch.manual_seed(0)
        torch.save(r3d18.Network().state_dict(), source)
        self.publish(monkeypatch, "r3d18", source)
        with pytest.raises(EvaluationError, match="--download"):
            build_extractor("r3d18")
        one = build_extractor("r3d18", download=True)
        source.unlink()
        two = build_extractor("r3d18")
        video = noise_video(1)
        assert one(video).shape == (1, 512)
        assert torch.equal(one(video), two(video))
        assert two.weights_hash == EXTRACTORS["r3d18"].weights.sha256  # type: ignore[union-attr]
        assert two.probabilities(video).sum().item() == pytest.approx(1, abs=1e-5)
        assert [f.name for f in (tmp_path / "cache" / weights.FOLDER).iterdir()] == [
            "r3d_18-b3b3357e.pth"
        ]

    def test_a_failed_download_leaves_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "gone.pth"
        file.write_bytes(b"")
        self.publish(monkeypatch, "r3d18", file)
        file.unlink()
        with pytest.raises(EvaluationError, match="could not download file://"):
            build_extractor("r3d18", download=True)
        assert list((tmp_path / "cache" / weights.FOLDER).iterdir()) == []

    def test_torchscript_is_called_as_published(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Stand-ins with the published files' signatures."""

        class FakeInception(torch.nn.Module):
            def forward(
                self, x: Tensor, return_features: bool = False, no_output_bias: bool = False
            ) -> Tensor:
                assert x.dtype == torch.uint8
                mean = x.float().mean((1, 2, 3)).unsqueeze(1)
                if return_features:
                    return mean.expand(-1, 2048)
                assert no_output_bias
                return torch.full((x.shape[0], 1008), 1 / 1008)

        class FakeI3d(torch.nn.Module):
            def forward(
                self, x: Tensor, rescale: bool = False, resize: bool = False,
                return_features: bool = False,
            ) -> Tensor:  # fmt: skip
                assert rescale
                assert resize
                assert return_features
                assert x.max() > 2
                return x.mean((1, 2, 3, 4)).unsqueeze(1).expand(-1, 400)

        video = noise_video(2, frames=10)
        for name, fake, rows, dim in (
            ("inception", FakeInception(), 20, 2048), ("i3d", FakeI3d(), 2, 400),
        ):  # fmt: skip
            file = tmp_path / f"{name}.pt"
            torch.jit.script(fake).save(file)
            self.publish(monkeypatch, name, file)
            # The zero video that finds out the sizes would trip the stand-in's range check.
            if name == "i3d":
                monkeypatch.setattr(torch, "zeros", lambda *s, dtype: torch.full(s, 9, dtype=dtype))
            extractor = build_extractor(name, path=file)
            monkeypatch.undo() if name == "i3d" else None
            found = extractor(video)
            assert found.shape == (rows, dim)
            assert found[0, 0].item() == pytest.approx(
                video[0, :, 0].float().mean().item() if name == "inception"
                else video[0].float().mean().item(), rel=1e-5,
            )  # fmt: skip

    def test_published_sizes(self) -> None:
        """The written-out networks hold exactly as many numbers as the published files."""
        with torch.device("meta"):
            r3d, clip, mae = r3d18.Network(), vit.ClipVision(), vit.MaeVision()
        count = {n: sum(p.numel() for p in net.parameters()) for n, net in
                 (("r3d18", r3d), ("clip", clip), ("videomae", mae))}  # fmt: skip
        assert count["r3d18"] == 33_371_472
        assert count["clip"] == 87_849_216
        assert count["videomae"] * 2 == pytest.approx(2_023_804_201, rel=1e-4)  # float16 on disk


def test_packaged_weights_are_hashed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    row = EXTRACTORS["vidgen-clip"]
    assert row.packaged is not None
    assert build_extractor("vidgen-clip").weights_hash == row.packaged.sha256
    damaged = dataclasses.replace(row.packaged, sha256="0" * 64)
    monkeypatch.setitem(table.EXTRACTORS, "vidgen-clip", dataclasses.replace(row, packaged=damaged))
    with pytest.raises(EvaluationError, match="The installation is damaged"):
        build_extractor("vidgen-clip")


def test_perceptual_distance_grows_with_damage() -> None:
    clips = make_worlds(4, torch.Generator().manual_seed(7), frames=8).video.float() / 127.5 - 1
    noise = torch.randn(clips.shape, generator=torch.Generator().manual_seed(0))
    found = []
    for strength in (0.0, 0.05, 0.2):
        metric = VideoPerceptual()
        metric.update((clips + strength * noise).clamp(-1, 1), clips)
        found.append(metric.compute().item())
    assert found[0] == pytest.approx(0, abs=1e-6)
    assert found[0] < found[1] < found[2]
    assert metric.extractor.startswith("vidgen-clip 1 sha256:")


def test_small_transformers_run() -> None:
    torch.manual_seed(0)
    clip = vit.ClipVision(width=128, depth=2, embed=32, side=64, patch=16)
    assert clip(torch.rand(2, 3, 64, 64)).shape == (2, 32)
    mae = vit.MaeVision(width=64, depth=2, heads=4, hidden=96, side=28, frames=4)
    video = torch.rand(2, 3, 4, 28, 28)
    assert mae(video).shape == (2, 64)
    assert not torch.allclose(mae(video), mae(video.flip(2)))  # positions are in
