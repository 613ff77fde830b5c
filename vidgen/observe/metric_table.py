"""Every metric that vidgen exports: the only place where their names are.

Names follow Prometheus: prefix `vidgen_`, base units, `_total` for counters. Labels stay few for as
long as a run lasts: nothing here is labelled by step, file or clip. Dashboards and alerts use these
names alone.

What labels say:
    run         the run folder's last part; unique within a cluster
    rank        of the process, from 0
    sweep       the sweep folder's last part
    node        host name of the machine, or of the pod that stands for it
    gpu         index on its node; gpu_uuid is the same everywhere
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from typing_extensions import Unpack

Kind = Literal["gauge", "counter", "histogram"]
Unit = Literal[
    "seconds", "bytes", "ratio", "watts", "celsius", "hertz", "per second", "flops", "unix time", ""
]

PREFIX = "vidgen_"
RUN, RANK, SWEEP, NODE = ("run",), ("run", "rank"), ("sweep",), ("node",)
_GPU = ("node", "gpu", "gpu_uuid")

# What a run's process spends its time on, in the order of a step; values of the label `phase`.
# STEP_PHASES make up a step; forward is a part of forward_backward, before ranks wait for others.
STEP_PHASES = ("data_wait", "forward_backward", "optimizer")
PHASES = (*STEP_PHASES, "forward", "validate", "sample", "checkpoint")
# How a run ended, or has not: values of the label `outcome`.
Outcome = Literal["running", "done", "interrupted", "not_finite", "failed"]
# Values of the label `state` of a sweep's trials.
TRIAL_STATES = ("waiting", "running", "stopped", "done", "failed")

_STEP_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0)
_PHASE_BUCKETS = (0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One row.

    Attributes:
        name: with prefix and unit.
        kind: gauge (goes up and down), counter (only up, from 0 at a restart), histogram.
        help: one sentence, for people who meet it in Prometheus.
        labels: all of them, those that name the process (run, rank, sweep, node) first.
        unit: of the value.
        buckets: upper bounds, for histograms.
        needs: what a machine must have for the metric to exist at all; '' for nothing.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]
    unit: Unit = ""
    buckets: tuple[float, ...] = ()
    needs: Literal["", "gpu"] = ""


class _Optional(TypedDict, total=False):
    unit: Unit
    buckets: tuple[float, ...]
    needs: Literal["", "gpu"]


def _gauge(name: str, labels: tuple[str, ...], text: str, **more: Unpack[_Optional]) -> Metric:
    return Metric(name=name, kind="gauge", help=text, labels=labels, **more)


def _counter(name: str, labels: tuple[str, ...], text: str, **more: Unpack[_Optional]) -> Metric:
    return Metric(name=name, kind="counter", help=text, labels=labels, **more)


def _histogram(name: str, labels: tuple[str, ...], text: str, **more: Unpack[_Optional]) -> Metric:
    return Metric(name=name, kind="histogram", help=text, labels=labels, **more)


# The run, told by rank 0.
RUN_INFO = _gauge(
    "vidgen_run_info",
    (*RUN, "family", "folder", "workers"),
    "1 for each run: what it trains, where its folder is.",
)
RUN_OUTCOME = _gauge(
    "vidgen_run_outcome", (*RUN, "outcome"), "1 for how the run ended: running while it has not."
)
RUN_STARTED = _gauge(
    "vidgen_run_started_timestamp_seconds",
    RUN,
    "When the run was started, or started again.",
    unit="unix time",
)
STEP = _gauge("vidgen_step", RUN, "Optimizer steps done.")
STEPS_WANTED = _gauge("vidgen_steps_wanted", RUN, "Optimizer steps of the whole run.")
EPOCH = _gauge("vidgen_epoch", RUN, "Passes over the training clips so far.")
LOSS = _gauge(
    "vidgen_loss",
    (*RUN, "turn", "part"),
    "Training loss by turn and part; part 'total' is what is minimised.",
)
VALIDATION_LOSS = _gauge(
    "vidgen_validation_loss", (*RUN, "part"), "Validation loss of the averaged weights, by part."
)
LEARNING_RATE = _gauge("vidgen_learning_rate", RUN, "Learning rate.")
GRADIENT_NORM = _gauge(
    "vidgen_gradient_norm", (*RUN, "turn"), "Global norm of the gradients before clipping."
)
CLIPS_PER_SECOND = _gauge(
    "vidgen_clips_per_second",
    RUN,
    "Training clips per second over all ranks, without validation, samples, checkpoints.",
    unit="per second",
)
FRAMES_PER_SECOND = _gauge(
    "vidgen_frames_per_second", RUN, "Training frames per second over all ranks.", unit="per second"
)
FLOPS = _gauge(
    "vidgen_model_flops_per_second",
    RANK,
    "Floating-point operations per second of the rank that the model itself needs.",
    unit="flops",
)
MFU = _gauge(
    "vidgen_mfu_ratio",
    RANK,
    "Model FLOPs utilisation: those operations over what the device does in a large matmul.",
    unit="ratio",
)
RESTARTS = _counter(
    "vidgen_restarts_total",
    RUN,
    "Times the run was started again from a checkpoint, over its whole life.",
)
PREEMPTIONS = _counter(
    "vidgen_preemptions_total",
    RUN,
    "Times the run saved and left because a node was to be taken away.",
)
CHECKPOINT_SECONDS = _gauge(
    "vidgen_checkpoint_seconds",
    RUN,
    "What the newest checkpoint took, from its start to its commit; training goes on meanwhile.",
    unit="seconds",
)
CHECKPOINT_BYTES = _gauge(
    "vidgen_checkpoint_bytes", RUN, "Size of the newest checkpoint.", unit="bytes"
)
CHECKPOINT_TIME = _gauge(
    "vidgen_checkpoint_timestamp_seconds",
    RUN,
    "When the newest checkpoint was committed; the run's start while there is none.",
    unit="unix time",
)
PREEMPTION_NOTICE = _gauge(
    "vidgen_preemption_notice_seconds",
    RUN,
    "How long the workers may go on after notice that their node goes away.",
    unit="seconds",
)
EVALUATION_SCORE = _gauge(
    "vidgen_evaluation_score",
    (*RUN, "score", "protocol"),
    "Scores of generated clips; protocol is a digest: equal ones compare.",
)
REWARD = _gauge(
    "vidgen_reward",
    (*RUN, "part"),
    "Mean reward of what a step made, by reward; part 'total' is the weighted mean.",
)
VALIDATION_REWARD = _gauge(
    "vidgen_validation_reward",
    (*RUN, "part"),
    "Reward of the averaged weights on held-out conditions; part 'start' is the start's total.",
)
REWARD_GUARD = _gauge(
    "vidgen_reward_guard_ratio",
    (*RUN, "part"),
    "What is held out against cheating, over what the start has of it.",
    unit="ratio",
)
REWARD_DIVERSITY = _gauge(
    "vidgen_reward_diversity_ratio",
    RUN,
    "How far two videos of a held-out condition differ, over how far the start's do.",
    unit="ratio",
)
REWARD_KL = _gauge(
    "vidgen_reward_kl", RUN, "How far training went from the start, as its learner measures it."
)
REWARD_MOVED = _gauge(
    "vidgen_reward_moved",
    RUN,
    "Mean squared distance from what the start makes of the same noise, on held-out conditions.",
)
DATASET_CLIPS = _gauge("vidgen_dataset_clips", (*RUN, "split"), "Clips by split.")
DATASET_SOURCES = _gauge(
    "vidgen_dataset_sources",
    (*RUN, "outcome"),
    "Source videos seen when the data set was made: kept, rejected, skipped.",
)

# Each rank.
LAST_STEP_TIME = _gauge(
    "vidgen_last_step_timestamp_seconds",
    RANK,
    "When the rank last finished a step; its start while it has not.",
    unit="unix time",
)
STEP_SECONDS = _histogram(
    "vidgen_step_seconds",
    RANK,
    "Seconds per optimizer step, without validation, samples, checkpoints.",
    unit="seconds",
    buckets=_STEP_BUCKETS,
)
PHASE_SECONDS = _histogram(
    "vidgen_phase_seconds",
    (*RANK, "phase"),
    "Seconds by what they went into; what is part of a step is counted once a turn.",
    unit="seconds",
    buckets=_PHASE_BUCKETS,
)
DATA_CLIPS = _counter("vidgen_data_clips_total", RANK, "Clips trained on.")
DATA_BYTES = _counter(
    "vidgen_data_read_bytes_total",
    RANK,
    "Bytes read from stores, local or remote; what memory caches gave is not among them.",
    unit="bytes",
)
DATA_REQUESTS = _counter("vidgen_data_requests_total", RANK, "Requests to object stores.")
DATA_RETRIES = _counter(
    "vidgen_data_retries_total", RANK, "Requests to object stores that were tried again."
)
DATA_READY = _gauge(
    "vidgen_data_ready_batches",
    RANK,
    "Batches decoded ahead and waiting; 0 means that the data path is behind.",
)
DATA_SET_ASIDE = _gauge(
    "vidgen_data_set_aside_clips",
    RANK,
    "Clips that the rank has set aside since its start, because they do not decode.",
)
CPU_SECONDS = _counter(
    "vidgen_process_cpu_seconds_total",
    RANK,
    "Processor seconds of the rank and its decoder processes.",
    unit="seconds",
)
RESIDENT_BYTES = _gauge(
    "vidgen_process_resident_memory_bytes",
    RANK,
    "Memory of the rank and its decoder processes.",
    unit="bytes",
)
RANK_GPU = _gauge(
    "vidgen_rank_gpu_info",
    (*RANK, "gpu_uuid"),
    "1 for the GPU that a rank computes on.",
    needs="gpu",
)

# Each node.
NODE_CPU = _gauge(
    "vidgen_node_cpu_ratio", NODE, "Share of the node's processors in use.", unit="ratio"
)
NODE_MEMORY_USED = _gauge(
    "vidgen_node_memory_used_bytes",
    NODE,
    "Memory in use, of the container where there is one.",
    unit="bytes",
)
NODE_MEMORY_SIZE = _gauge(
    "vidgen_node_memory_size_bytes",
    NODE,
    "Memory that may be used before processes are killed.",
    unit="bytes",
)
VOLUME_USED = _gauge(
    "vidgen_volume_used_bytes",
    (*NODE, "volume"),
    "Bytes in use on what is mounted at shm (/dev/shm), tmp, home.",
    unit="bytes",
)
VOLUME_SIZE = _gauge(
    "vidgen_volume_size_bytes",
    (*NODE, "volume"),
    "Size of what is mounted at shm (/dev/shm), tmp, home.",
    unit="bytes",
)
NODE_PROCESSES = _gauge(
    "vidgen_node_processes",
    NODE,
    "Processes of vidgen on the node that tell the exporter about themselves.",
)
NODE_GPUS = _gauge("vidgen_node_gpus", NODE, "GPUs that NVML sees on the node.")
GPU_ERRORS = _counter("vidgen_gpu_read_errors_total", NODE, "Readings that NVML refused.")
GPU_INFO = _gauge("vidgen_gpu_info", (*_GPU, "model"), "1 for each GPU of the node.", needs="gpu")
GPU_UTILIZATION = _gauge(
    "vidgen_gpu_utilization_ratio",
    _GPU,
    "Share of the last moment in which a kernel ran.",
    unit="ratio",
    needs="gpu",
)
GPU_MEMORY_USED = _gauge(
    "vidgen_gpu_memory_used_bytes", _GPU, "GPU memory in use.", unit="bytes", needs="gpu"
)
GPU_MEMORY_SIZE = _gauge(
    "vidgen_gpu_memory_size_bytes", _GPU, "GPU memory there is.", unit="bytes", needs="gpu"
)
GPU_POWER = _gauge("vidgen_gpu_power_watts", _GPU, "Power drawn.", unit="watts", needs="gpu")
GPU_TEMPERATURE = _gauge(
    "vidgen_gpu_temperature_celsius", _GPU, "Temperature of the chip.", unit="celsius", needs="gpu"
)
GPU_SM_CLOCK = _gauge(
    "vidgen_gpu_sm_clock_hertz",
    _GPU,
    "Clock of the multiprocessors; it falls when power or heat limit them.",
    unit="hertz",
    needs="gpu",
)
GPU_ECC_ERRORS = _counter(
    "vidgen_gpu_ecc_errors_total",
    (*_GPU, "severity"),
    "Memory errors since the driver was loaded: corrected or uncorrected.",
    needs="gpu",
)

# Each sweep, told by its driver. Its trials are runs.
SWEEP_TRIALS = _gauge(
    "vidgen_sweep_trials", (*SWEEP, "state"), "Trials by state; stopped ones were given up early."
)
SWEEP_TRIALS_WANTED = _gauge(
    "vidgen_sweep_trials_wanted", SWEEP, "Trials that the sweep may start in all."
)
SWEEP_BEST = _gauge(
    "vidgen_sweep_best_score",
    (*SWEEP, "metric"),
    "Best value of the metric that the sweep looks at, so far.",
)
SWEEP_SPENT = _gauge(
    "vidgen_sweep_gpu_seconds_spent",
    SWEEP,
    "GPU-seconds of all trials so far; of processors where there are no GPUs.",
    unit="seconds",
)
SWEEP_SAVED = _gauge(
    "vidgen_sweep_gpu_seconds_saved",
    SWEEP,
    "GPU-seconds that stopped trials would still have taken.",
    unit="seconds",
)
SWEEP_EXPLOITS = _counter(
    "vidgen_sweep_exploits_total", SWEEP, "Times a trial went on from another one's weights."
)
TRIAL_INFO = _gauge("vidgen_trial_info", (*SWEEP, "run"), "1 for each trial: the run that it is.")

METRICS: dict[str, Metric] = {
    row.name: row for row in list(vars().values()) if isinstance(row, Metric)
}
