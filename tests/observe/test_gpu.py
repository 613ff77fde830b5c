"""What NVML may answer when there is no GPU, or a sick one; and a real one against nvidia-smi."""

from __future__ import annotations

import shutil
import subprocess
from types import SimpleNamespace
from typing import Any

import pytest

from vidgen.observe.gpu import GpuSampler


class NvmlError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(f"NVML error {value}")
        self.value = value


NOT_SUPPORTED, LOST, NO_DRIVER = 3, 15, 9


def nvml(**answers: Any) -> Any:
    """Two healthy GPUs; `answers` replace functions."""

    def of(value: Any) -> Any:
        return lambda *_: value

    functions = {
        "nvmlInit": of(None), "nvmlDeviceGetCount": of(2),
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetUUID": lambda gpu: f"GPU-{gpu}", "nvmlDeviceGetName": of(b"NVIDIA A100"),
        "nvmlDeviceGetUtilizationRates": of(SimpleNamespace(gpu=87)),
        "nvmlDeviceGetMemoryInfo": of(SimpleNamespace(used=3, total=80)),
        "nvmlDeviceGetPowerUsage": of(250_000), "nvmlDeviceGetTemperature": of(61),
        "nvmlDeviceGetClockInfo": of(1410), "nvmlDeviceGetTotalEccErrors": lambda _, kind, __: kind,
    }  # fmt: skip
    constants = {
        "NVML_ERROR_NOT_SUPPORTED": NOT_SUPPORTED, "NVML_TEMPERATURE_GPU": 0, "NVML_CLOCK_SM": 1,
        "NVML_MEMORY_ERROR_TYPE_CORRECTED": 0, "NVML_MEMORY_ERROR_TYPE_UNCORRECTED": 1,
        "NVML_VOLATILE_ECC": 0,
    }  # fmt: skip
    return SimpleNamespace(NVMLError=NvmlError, **{**functions, **constants, **answers})


def fails(code: int, only: int | None = None, then: Any = None) -> Any:
    def function(*given: Any) -> Any:
        if only is None or given[0] == only:
            raise NvmlError(code)
        return then

    return function


def values(text: str, name: str) -> list[float]:
    return [float(line.split()[-1]) for line in text.splitlines() if line.startswith(name + "{")]


def test_units() -> None:
    text = GpuSampler("n", nvml()).read()
    assert values(text, "vidgen_node_gpus") == [2]
    assert values(text, "vidgen_gpu_utilization_ratio") == [0.87, 0.87]
    assert values(text, "vidgen_gpu_power_watts") == [250, 250]
    assert values(text, "vidgen_gpu_sm_clock_hertz") == [1.41e9, 1.41e9]
    assert 'model="NVIDIA A100"' in text
    assert values(text, "vidgen_gpu_read_errors_total") == [0]


def test_no_driver_is_no_gpus_until_there_is_one() -> None:
    module = nvml(nvmlInit=fails(NO_DRIVER))
    sampler = GpuSampler("n", module)
    text = sampler.read()
    assert values(text, "vidgen_node_gpus") == [0]
    assert "vidgen_gpu_info" not in text
    module.nvmlInit = lambda: None
    assert values(sampler.read(), "vidgen_node_gpus") == [2]


def test_what_a_card_does_not_have_is_left_out_and_is_no_error() -> None:
    text = GpuSampler("n", nvml(nvmlDeviceGetTotalEccErrors=fails(NOT_SUPPORTED))).read()
    assert "vidgen_gpu_ecc_errors_total{" not in text
    assert values(text, "vidgen_gpu_read_errors_total") == [0]


def test_a_lost_gpu_disappears_alone_and_is_counted() -> None:
    module = nvml()
    sampler = GpuSampler("n", module)
    assert len(values(sampler.read(), "vidgen_gpu_power_watts")) == 2
    module.nvmlDeviceGetUUID = fails(LOST, only=1, then="GPU-0")
    text = sampler.read()
    assert values(text, "vidgen_gpu_power_watts") == [250]
    assert values(text, "vidgen_gpu_read_errors_total") == [1]
    module.nvmlDeviceGetUUID = lambda gpu: f"GPU-{gpu}"
    module.nvmlDeviceGetPowerUsage = fails(LOST, only=0, then=300_000)
    text = sampler.read()
    assert values(text, "vidgen_gpu_power_watts") == [300]
    assert len(values(text, "vidgen_gpu_temperature_celsius")) == 2
    assert values(text, "vidgen_gpu_read_errors_total") == [2]


@pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="no GPU: nvidia-smi is missing")
def test_real_readings_agree_with_nvidia_smi() -> None:
    """Within 5 %, or the step that the reading has; the GPU is otherwise idle."""
    pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed: extra 'train'")
    columns = "memory.total,memory.used,power.draw,temperature.gpu,clocks.sm,utilization.gpu"
    text = GpuSampler("n").read()
    asked = subprocess.run(
        ["nvidia-smi", f"--query-gpu={columns}", "--format=csv,noheader,nounits"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    rows = [[float(cell) for cell in line.split(",")] for line in asked.strip().splitlines()]
    names = {
        "vidgen_gpu_memory_size_bytes": (2**20, 0.0),
        "vidgen_gpu_memory_used_bytes": (2**20, 700 * 2**20),  # NVML v1 counts the driver's share
        "vidgen_gpu_power_watts": (1.0, 5.0),
        "vidgen_gpu_temperature_celsius": (1.0, 1.0),
        "vidgen_gpu_sm_clock_hertz": (1e6, 30e6),
        "vidgen_gpu_utilization_ratio": (0.01, 0.05),
    }
    for column, (name, (unit, step)) in enumerate(names.items()):
        assert values(text, name) == pytest.approx(
            [row[column] * unit for row in rows], rel=0.05, abs=step
        ), name
