"""Readings of the node's GPUs through NVML, NVIDIA's management library."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import ModuleType
from typing import Any

from vidgen.observe.board import Board
from vidgen.observe.metric_table import (
    GPU_ECC_ERRORS,
    GPU_ERRORS,
    GPU_INFO,
    GPU_MEMORY_SIZE,
    GPU_MEMORY_USED,
    GPU_POWER,
    GPU_SM_CLOCK,
    GPU_TEMPERATURE,
    GPU_UTILIZATION,
    NODE_GPUS,
    Metric,
)

_log = logging.getLogger(__name__)


class GpuSampler:
    """Reads every GPU that NVML shows to this process.

    A node without GPUs, driver or pynvml has 0 of them. What one GPU cannot tell (ECC on a laptop's
    card, anything on one that fell off its bus) is left out and counted, and its earlier readings
    go.

    Args:
        node: label of all series.
        nvml: the pynvml module; None: import it.
    """

    def __init__(self, node: str, nvml: ModuleType | None = None) -> None:
        self._node, self._nvml, self._errors = node, nvml, 0
        self._handles: list[Any] | None = None

    def read(self) -> str:
        """Series of all GPUs, in text."""
        board = Board(node=self._node)
        handles = self._open()
        for index, handle in enumerate(handles):
            self._read_one(board, str(index), handle)
        board.set(NODE_GPUS, len(handles))
        board.count_to(GPU_ERRORS, self._errors)
        return board.text()

    def _open(self) -> list[Any]:
        """Handles of the GPUs; looked for again while there are none, as a driver may come late."""
        if self._handles:
            return self._handles
        try:
            if self._nvml is None:
                import pynvml

                self._nvml = pynvml
        except ImportError:
            return []
        nvml: Any = self._nvml
        try:
            nvml.nvmlInit()
            count = nvml.nvmlDeviceGetCount()
        except nvml.NVMLError as error:
            _log.debug("no GPUs to read: %s", error)
            return []
        self._handles = []
        for index in range(count):
            try:
                self._handles.append(nvml.nvmlDeviceGetHandleByIndex(index))
            except nvml.NVMLError as error:
                self._failed(index, "handle", error)
        return self._handles

    def _read_one(self, board: Board, gpu: str, handle: Any) -> None:
        nvml: Any = self._nvml
        try:
            labels = {"gpu": gpu, "gpu_uuid": _text(nvml.nvmlDeviceGetUUID(handle))}
            board.set(GPU_INFO, 1, **labels, model=_text(nvml.nvmlDeviceGetName(handle)))
        except nvml.NVMLError as error:
            self._failed(gpu, "uuid", error)
            self._handles = None  # the driver may have been loaded anew
            return

        def reading(metric: Metric, read: Callable[[], float], **more: str) -> None:
            try:
                value = read()
            except nvml.NVMLError as error:
                if error.value != nvml.NVML_ERROR_NOT_SUPPORTED:
                    self._failed(gpu, metric.name, error)
                return
            if metric.kind == "counter":
                board.count_to(metric, value, **labels, **more)
            else:
                board.set(metric, value, **labels, **more)

        reading(GPU_UTILIZATION, lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100)
        reading(GPU_MEMORY_USED, lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used)
        reading(GPU_MEMORY_SIZE, lambda: nvml.nvmlDeviceGetMemoryInfo(handle).total)
        reading(GPU_POWER, lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1e3)
        reading(
            GPU_TEMPERATURE,
            lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
        )
        reading(GPU_SM_CLOCK, lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM) * 1e6)
        for severity, kind in (
            ("corrected", nvml.NVML_MEMORY_ERROR_TYPE_CORRECTED),
            ("uncorrected", nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED),
        ):
            reading(
                GPU_ECC_ERRORS,
                lambda kind=kind: nvml.nvmlDeviceGetTotalEccErrors(  # type: ignore[misc]
                    handle, kind, nvml.NVML_VOLATILE_ECC
                ),
                severity=severity,
            )

    def _failed(self, gpu: object, what: str, error: Exception) -> None:
        self._errors += 1
        _log.debug("GPU %s does not tell %s: %s", gpu, what, error)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
