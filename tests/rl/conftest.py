"""Settings of the tests of reward fine-tuning."""

from __future__ import annotations

import torch

torch.set_num_threads(1)  # two would wait for each other on a busy machine
