"""A rank's part of the exporter: lines of metrics.jsonl become the table's metrics."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import psutil

from vidgen.observe import metric_table as table
from vidgen.observe.board import Board
from vidgen.observe.exporter import Exporter
from vidgen.observe.reward_metrics import set_rewards
from vidgen.observe.sink import Sink
from vidgen.storage.tally import TALLY

_TREE_EVERY_S = 10.0
_DRAIN_ENV = "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"  # Ray's, 30 s by default
_MODEL = "model"  # the turn of families that have but one

# Keys of a line that are one gauge each: of every rank, then of rank 0.
_OF_RANKS = {
    "ready_batches": table.DATA_READY,
    "set_aside": table.DATA_SET_ASIDE,
    "flops_per_s": table.FLOPS,
    "mfu": table.MFU,
}
_OF_LEAD = {
    "lr": table.LEARNING_RATE,
    "clips_per_s": table.CLIPS_PER_SECOND,
    "frames_per_s": table.FRAMES_PER_SECOND,
    "save_s": table.CHECKPOINT_SECONDS,
    "save_bytes": table.CHECKPOINT_BYTES,
}
_TOTALS = {"starts": table.RESTARTS, "preemptions": table.PREEMPTIONS}
_LOSS = re.compile(r"(?:(?P<turn>.+?)_)?loss(?:_(?P<part>.+))?")
_NORM = re.compile(r"(?:(?P<turn>.+)_)?grad_norm")


@dataclass(frozen=True, kw_only=True)
class About:
    """What a run says of itself once.

    Attributes:
        run: see `storage.run_folder.run_label`.
        rank: of this process; 0 tells what is the same for all.
        info: the labels of `vidgen_run_info`.
        steps: of the whole run.
        step: how many are done, whenever asked.
        clips_per_step: over all ranks; my_clips: of this one, on average.
        clips: of the data set, by split.
        sources: of the data set, by what became of them.
        gpu_uuid: of the GPU that this rank computes on.
    """

    run: str
    rank: int
    info: dict[str, str]
    steps: int
    step: Callable[[], int]
    clips_per_step: int
    my_clips: float
    clips: dict[str, int] = field(default_factory=dict)
    sources: dict[str, int] = field(default_factory=dict)
    gpu_uuid: str | None = None


class RunMetrics(Sink):
    """Exports what one rank measures while it is open."""

    def __init__(self, about: About) -> None:
        self._about, self._lead = about, about.rank == 0
        self._exporter = Exporter(refresh=self._refresh, run=about.run, rank=str(about.rank))
        self._tree = _ProcessTree()
        self._first = self._seen = about.step()
        board = self._exporter.board
        board.set(table.LAST_STEP_TIME, time.time())
        for counter in (table.DATA_CLIPS, table.DATA_BYTES, table.DATA_REQUESTS):
            board.add(counter, 0)
        board.add(table.DATA_RETRIES, 0)
        if about.gpu_uuid is not None:
            board.set(table.RANK_GPU, 1, gpu_uuid=about.gpu_uuid)
        if self._lead:
            self._describe(board)
        self._exporter.__enter__()

    def line(self, step: int, values: Mapping[str, float]) -> None:
        board = self._exporter.board
        for name, metric in _OF_RANKS.items():
            if name in values:
                board.set(metric, values[name])
        if not self._lead:
            return
        for name, value in values.items():
            if name in _OF_LEAD:
                board.set(_OF_LEAD[name], value)
            elif name in _TOTALS:
                # The first start is no restart.
                board.count_to(_TOTALS[name], value - (name == "starts"))
            elif name.startswith("val_") and (loss := _LOSS.fullmatch(name[4:])):
                board.set(table.VALIDATION_LOSS, value, part=_part(loss))
            elif loss := _LOSS.fullmatch(name):
                board.set(table.LOSS, value, turn=loss["turn"] or _MODEL, part=_part(loss))
            elif norm := _NORM.fullmatch(name):
                board.set(table.GRADIENT_NORM, value, turn=norm["turn"] or _MODEL)
        set_rewards(board, values)
        if "save_s" in values:
            board.set(table.CHECKPOINT_TIME, time.time())

    def laps(self, laps: Mapping[str, Sequence[float]]) -> None:
        board = self._exporter.board
        for name, seconds in laps.items():
            for each in seconds:
                if name == "step":
                    board.observe(table.STEP_SECONDS, each)
                elif name in table.PHASES:
                    board.observe(table.PHASE_SECONDS, each, phase=name)

    def close(self, outcome: table.Outcome) -> None:
        if self._lead:
            self._exporter.board.only(table.RUN_OUTCOME, outcome=outcome)
        self._exporter.__exit__()

    def _describe(self, board: Board) -> None:
        about = self._about
        board.set(table.RUN_INFO, 1, **about.info)
        board.only(table.RUN_OUTCOME, outcome="running")
        board.set(table.RUN_STARTED, time.time())
        board.set(table.STEPS_WANTED, about.steps)
        board.set(table.CHECKPOINT_TIME, time.time())
        board.set(table.PREEMPTION_NOTICE, float(os.environ.get(_DRAIN_ENV, "30")))
        board.add(table.RESTARTS, 0)
        board.add(table.PREEMPTIONS, 0)
        for split, clips in about.clips.items():
            board.set(table.DATASET_CLIPS, clips, split=split)
        for what, sources in about.sources.items():
            board.set(table.DATASET_SOURCES, sources, outcome=what)

    def _refresh(self, board: Board) -> None:
        """Called every other second by the exporter's thread: costs the loop nothing."""
        about, step = self._about, self._about.step()
        if step != self._seen:
            self._seen = step
            board.set(table.LAST_STEP_TIME, time.time())
        if self._lead:
            board.set(table.STEP, step)
            if train := about.clips.get("train"):
                board.set(table.EPOCH, step * about.clips_per_step / train)
        board.count_to(table.DATA_CLIPS, (step - self._first) * about.my_clips)
        asked = TALLY.counts()
        board.count_to(table.DATA_BYTES, asked.read_bytes)
        board.count_to(table.DATA_REQUESTS, asked.requests)
        board.count_to(table.DATA_RETRIES, asked.retries)
        cpu_s, resident = self._tree.read()
        board.count_to(table.CPU_SECONDS, cpu_s)
        board.set(table.RESIDENT_BYTES, resident)


class _ProcessTree:
    """Processor seconds and memory of this process and those it started, ended ones included."""

    def __init__(self) -> None:
        self._me = psutil.Process()
        self._cpu: dict[tuple[int, float], float] = {}
        self._found: list[psutil.Process] = [self._me]
        self._looked = -_TREE_EVERY_S

    def read(self) -> tuple[float, int]:
        if time.monotonic() - self._looked > _TREE_EVERY_S:
            self._found = [self._me, *self._me.children(recursive=True)]
            self._looked = time.monotonic()
        resident = 0
        for process in self._found:
            try:
                times, memory = process.cpu_times(), process.memory_info()
                key = (process.pid, process.create_time())
            except psutil.Error:  # it has ended; what it used stays counted
                continue
            self._cpu[key] = times.user + times.system
            resident += memory.rss
        return sum(self._cpu.values()), resident


def _part(loss: re.Match[str]) -> str:
    return loss["part"] or "total"
