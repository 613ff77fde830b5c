"""The table of feature extractors, and what a score on their features may be called.

FID, KID, IS and FVD are names of particular networks' scores. They are used for those networks
only, whose weights are hashed before they are loaded; every other score is named after its
extractor: fd_st-stats.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from vidgen.errors import ConfigError, EvaluationError, did_you_mean
from vidgen.metrics.features.base import Extractor
from vidgen.metrics.features.weights import Weights, find, sha256


@dataclass(frozen=True, kw_only=True)
class Packaged:
    """A weights file beside the extractors; `sha256` is of its bytes."""

    file: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One extractor.

    Attributes:
        build: 'module:class' below this package.
        weights: what must be given or downloaded; None when it works out of the box.
        packaged: weights that come with vidgen.
        frechet, kernel, classes: the established names of its scores, where it has them.
        about: one line for people.
    """

    build: str
    about: str
    weights: Weights | None = None
    packaged: Packaged | None = None
    frechet: str | None = None
    kernel: str | None = None
    classes: str | None = None


EXTRACTORS: dict[str, Row] = {
    "st-stats": Row(
        build="st_stats:StStats",
        about="hand-made statistics; sees noise, blur, freezing, flicker, frames out of order",
    ),
    "vidgen-clip": Row(
        build="vidgen_clip:VidgenClip",
        about="small network trained on made-up clips; its ratios are known for those alone",
        packaged=Packaged(
            file="vidgen_clip.safetensors",
            sha256="2f7e9b7ec0478c9892e43f07b4f83db6bfdde0fe9dcf46f3669de90df2e719ca",
        ),
    ),
    "frame-stats": Row(
        build="st_stats:FrameStats",
        about="the same of each frame alone; blind to time",
    ),
    "inception": Row(
        build="scripted:Inception",
        about="Inception v3 on each frame; the network of FID",
        weights=Weights(
            file="inception-2015-12-05.pt",
            sha256="f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
            megabytes=96,
            url="https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/"
            "inception-2015-12-05.pt",
        ),
        frechet="fid",
        kernel="kid",
        classes="is",
    ),
    "i3d": Row(
        build="scripted:I3D",
        about="Inflated 3D Inception, Kinetics-400; the network of FVD",
        weights=Weights(
            file="i3d_torchscript.pt",
            sha256="bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2",
            megabytes=51,
            url="https://huggingface.co/flateon/FVD-I3D-torchscript/resolve/"
            "1c2d61711c52571ad617a1063e6fa691b212e184/i3d_torchscript.pt",
        ),
        frechet="fvd",
    ),
    "r3d18": Row(
        build="r3d18:R3D18",
        about="3D ResNet-18, Kinetics-400",
        weights=Weights(
            file="r3d_18-b3b3357e.pth",
            sha256="b3b3357ead25631ec9c57362ff2128a92d0427e01e2cd184951a44380c3f2e9d",
            megabytes=134,
            url="https://download.pytorch.org/models/r3d_18-b3b3357e.pth",
        ),
    ),
    "clip": Row(
        build="vit:Clip",
        about="CLIP ViT-B/32 on each frame",
        weights=Weights(
            file="ViT-B-32.pt",
            sha256="40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
            megabytes=354,
            url="https://openaipublic.azureedge.net/clip/models/"
            "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af/ViT-B-32.pt",
        ),
    ),
    "videomae": Row(
        build="vit:VideoMae",
        about="VideoMAE v2 ViT-g, Something-Something v2; looks at motion more than content",
        weights=Weights(
            file="vit_g_hybrid_pt_1200e_ssv2_ft.pth",
            sha256="5a210a92f035dff30c53b46157b612e7a1a5d3c99700e1b2d71da5c399ca7e70",
            megabytes=2024,
            url="https://huggingface.co/OpenGVLab/VideoMAE2/resolve/"
            "97d119d270aca7a1217fff7f413c0c543eb325d9/mae-g/vit_g_hybrid_pt_1200e_ssv2_ft.pth",
        ),
    ),
}


@dataclass(frozen=True, kw_only=True)
class ScoreNames:
    """What the scores on an extractor's features are called."""

    frechet: str
    kernel: str
    classes: str


def score_names(extractor: str) -> ScoreNames:
    row = find_row(extractor)
    return ScoreNames(
        frechet=row.frechet or f"fd_{extractor}",
        kernel=row.kernel or f"kd_{extractor}",
        classes=row.classes or f"is_{extractor}",
    )


def find_row(name: str) -> Row:
    """A row of the table; ConfigError with the nearest name."""
    if name not in EXTRACTORS:
        raise ConfigError(
            f"unknown feature extractor '{name}'{did_you_mean(name, EXTRACTORS)}",
            expected=f"one of: {', '.join(EXTRACTORS)}",
        )
    return EXTRACTORS[name]


def build_extractor(name: str, *, path: Path | None = None, download: bool = False) -> Extractor:
    """An extractor ready to use.

    Args:
        path: of the published weights, for those that need them.
        download: fetch the weights when they are neither given nor in the cache.

    Raises:
        ConfigError: no such extractor, or a path for one that takes none.
        EvaluationError: weights missing, or not the published ones.
    """
    row = find_row(name)
    module, _, builder = row.build.partition(":")
    build: Callable[..., Extractor] = getattr(
        import_module(f"vidgen.metrics.features.{module}"), builder
    )
    if row.weights is None:
        if path is not None:
            raise ConfigError(f"extractor {name} takes no weights file", fix="Leave its path out.")
        if row.packaged is not None:
            return build(_of_package(row.packaged), row.packaged.sha256).eval()
        return build().eval()
    found = find(row.weights, extractor=name, path=path, download=download)
    return build(found, row.weights.sha256).eval()


def _of_package(packaged: Packaged) -> Path:
    """The file that was installed with vidgen. Raises EvaluationError if it is not that one."""
    file = Path(__file__).parent / packaged.file
    found = sha256(file) if file.is_file() else "missing"
    if found != packaged.sha256:
        raise EvaluationError(
            f"{file} is {found if found == 'missing' else 'of sha256 ' + found}",
            expected=packaged.sha256,
            fix="The installation is damaged: install vidgen again.",
        )
    return file
