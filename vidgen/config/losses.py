"""How a family that compares its videos with real ones does so."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vidgen.config.base import Positive, Strict, Weight


class LossConfig(Strict):
    """A pixel loss, and by weight a perceptual and an adversarial one beside it."""

    pixel: Literal["mse", "l1", "huber"] = "mse"
    """Squared or absolute errors, or squared ones that turn absolute at `huber_delta`."""
    huber_delta: Positive = 0.1
    """In pixel values from -1 to 1."""
    perceptual: Weight = 0.0
    """Weight of the difference in what `features` sees; 0: none."""
    features: str = "filters"
    """filters: oriented filters at three scales, nothing to download; vidgen-clip: vidgen's own
    encoder, which sees motion too, its weights in the package; or a TorchScript file that turns
    frames (N, 3, H, W) in [-1, 1] into one feature map or a list of them."""
    adversarial: Weight = 0.0
    """Weight of what a critic of patches in space and time says; 0: no critic."""
    adversarial_kind: Literal["relativistic", "hinge"] = "relativistic"
    """relativistic: each made video against a real one (arXiv:1807.00734); hinge: each alone."""
    adversarial_from: int = Field(default=0, ge=0)
    """First step that listens to the critic; it learns from the start."""
    critic_width: int = Field(default=32, gt=0)
    """Channels of the critic's first layer."""
    penalty: Weight = 1.0
    """Weight of the critic's squared gradients at real (R1) and made (R2) videos."""
