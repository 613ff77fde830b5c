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
from typing import Literal

Kind = Literal["gauge", "counter", "histogram"]
Unit = Literal[
    "seconds", "bytes", "ratio", "watts", "celsius", "hertz", "per second", "flops", "unix time", ""
]

PREFIX = "vidgen_"
RUN, RANK, SWEEP, NODE = ("run",), ("run", "rank"), ("sweep",), ("node",)
_GPU = ("node", "gpu", "gpu_uuid")

# What a run's process spends its time on, in the order of a step; values of the label `phase`.
PHASES = ("data_wait", "forward", "backward", "optimizer", "validate", "sample", "checkpoint")
# How a run ended, or has not: values of the label `outcome`.
OUTCOMES = ("running", "done", "interrupted", "not_finite", "failed")
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


# The run, told by rank 0.
RUN_INFO = Metric(
    name="vidgen_run_info",
    kind="gauge",
    help="1 for each run: what it trains, where its folder is.",
    labels=(*RUN, "family", "folder", "workers"),
)
RUN_OUTCOME = Metric(
    name="vidgen_run_outcome",
    kind="gauge",
    help="1 for how the run ended: running while it has not.",
    labels=(*RUN, "outcome"),
)
STEP = Metric(name="vidgen_step", kind="gauge", help="Optimizer steps done.", labels=RUN)
STEPS_WANTED = Metric(
    name="vidgen_steps_wanted", kind="gauge", help="Optimizer steps of the whole run.", labels=RUN
)
EPOCH = Metric(
    name="vidgen_epoch", kind="gauge", help="Passes over the training clips so far.", labels=RUN
)
LOSS = Metric(
    name="vidgen_loss",
    kind="gauge",
    help="Training loss by turn and part; part 'total' is what is minimised.",
    labels=(*RUN, "turn", "part"),
)
VALIDATION_LOSS = Metric(
    name="vidgen_validation_loss",
    kind="gauge",
    help="Validation loss of the averaged weights, by part.",
    labels=(*RUN, "part"),
)
LEARNING_RATE = Metric(name="vidgen_learning_rate", kind="gauge", help="Learning rate.", labels=RUN)
GRADIENT_NORM = Metric(
    name="vidgen_gradient_norm",
    kind="gauge",
    help="Global norm of the gradients before clipping.",
    labels=(*RUN, "turn"),
)
CLIPS_PER_SECOND = Metric(
    name="vidgen_clips_per_second",
    kind="gauge",
    help="Training clips per second over all ranks, without validation, samples, checkpoints.",
    labels=RUN,
    unit="per second",
)
FRAMES_PER_SECOND = Metric(
    name="vidgen_frames_per_second",
    kind="gauge",
    help="Training frames per second over all ranks.",
    labels=RUN,
    unit="per second",
)
FLOPS = Metric(
    name="vidgen_model_flops_per_second",
    kind="gauge",
    help="Floating-point operations per second that the model itself needs, over all ranks.",
    labels=RUN,
    unit="flops",
)
MFU = Metric(
    name="vidgen_mfu_ratio",
    kind="gauge",
    help="Model FLOPs utilisation: those operations over the peak of the run's GPUs.",
    labels=RUN,
    unit="ratio",
    needs="gpu",
)
RESTARTS = Metric(
    name="vidgen_restarts_total",
    kind="counter",
    help="Times the workers were started again after a failure.",
    labels=RUN,
)
PREEMPTIONS = Metric(
    name="vidgen_preemptions_total",
    kind="counter",
    help="Times the workers lost a node after notice.",
    labels=RUN,
)
CHECKPOINT_SECONDS = Metric(
    name="vidgen_checkpoint_seconds",
    kind="gauge",
    help="What the newest checkpoint took, from its start to its commit.",
    labels=RUN,
    unit="seconds",
)
CHECKPOINT_BYTES = Metric(
    name="vidgen_checkpoint_bytes",
    kind="gauge",
    help="Size of the newest checkpoint.",
    labels=RUN,
    unit="bytes",
)
CHECKPOINT_TIME = Metric(
    name="vidgen_checkpoint_timestamp_seconds",
    kind="gauge",
    help="When the newest checkpoint was committed; the run's start while there is none.",
    labels=RUN,
    unit="unix time",
)
PREEMPTION_NOTICE = Metric(
    name="vidgen_preemption_notice_seconds",
    kind="gauge",
    help="How long the workers may go on after notice that their node goes away.",
    labels=RUN,
    unit="seconds",
)
EVALUATION_SCORE = Metric(
    name="vidgen_evaluation_score",
    kind="gauge",
    help="Scores of generated clips; protocol is a digest: equal ones compare.",
    labels=(*RUN, "score", "protocol"),
)
DATASET_CLIPS = Metric(
    name="vidgen_dataset_clips", kind="gauge", help="Clips by split.", labels=(*RUN, "split")
)
DATASET_SOURCES = Metric(
    name="vidgen_dataset_sources",
    kind="gauge",
    help="Source videos seen when the data set was made: kept, rejected, skipped.",
    labels=(*RUN, "outcome"),
)

# Each rank.
LAST_STEP_TIME = Metric(
    name="vidgen_last_step_timestamp_seconds",
    kind="gauge",
    help="When the rank last finished a step; its start while it has not.",
    labels=RANK,
    unit="unix time",
)
STEP_SECONDS = Metric(
    name="vidgen_step_seconds",
    kind="histogram",
    help="Seconds per optimizer step, without validation, samples, checkpoints.",
    labels=RANK,
    unit="seconds",
    buckets=_STEP_BUCKETS,
)
PHASE_SECONDS = Metric(
    name="vidgen_phase_seconds",
    kind="histogram",
    help="Seconds by what they went into; the four phases of a step are counted once a step.",
    labels=(*RANK, "phase"),
    unit="seconds",
    buckets=_PHASE_BUCKETS,
)
DATA_CLIPS = Metric(
    name="vidgen_data_clips_total", kind="counter", help="Clips trained on.", labels=RANK
)
DATA_BYTES = Metric(
    name="vidgen_data_read_bytes_total",
    kind="counter",
    help="Bytes read from stores, local or remote; what memory caches gave is not among them.",
    labels=RANK,
    unit="bytes",
)
DATA_REQUESTS = Metric(
    name="vidgen_data_requests_total",
    kind="counter",
    help="Requests to object stores.",
    labels=RANK,
)
DATA_RETRIES = Metric(
    name="vidgen_data_retries_total",
    kind="counter",
    help="Requests to object stores that were tried again.",
    labels=RANK,
)
DATA_READY = Metric(
    name="vidgen_data_ready_batches",
    kind="gauge",
    help="Batches decoded ahead and waiting; 0 means that the data path is behind.",
    labels=RANK,
)
CPU_SECONDS = Metric(
    name="vidgen_process_cpu_seconds_total",
    kind="counter",
    help="Processor seconds of the rank and its decoder processes.",
    labels=RANK,
    unit="seconds",
)
RESIDENT_BYTES = Metric(
    name="vidgen_process_resident_memory_bytes",
    kind="gauge",
    help="Memory of the rank and its decoder processes.",
    labels=RANK,
    unit="bytes",
)
RANK_GPU = Metric(
    name="vidgen_rank_gpu_info",
    kind="gauge",
    help="1 for the GPU that a rank computes on.",
    labels=(*RANK, "gpu_uuid"),
    needs="gpu",
)

# Each node.
NODE_CPU = Metric(
    name="vidgen_node_cpu_ratio",
    kind="gauge",
    help="Share of the node's processors in use.",
    labels=NODE,
    unit="ratio",
)
NODE_MEMORY_USED = Metric(
    name="vidgen_node_memory_used_bytes",
    kind="gauge",
    help="Memory in use, of the container where there is one.",
    labels=NODE,
    unit="bytes",
)
NODE_MEMORY_SIZE = Metric(
    name="vidgen_node_memory_size_bytes",
    kind="gauge",
    help="Memory that may be used before processes are killed.",
    labels=NODE,
    unit="bytes",
)
VOLUME_USED = Metric(
    name="vidgen_volume_used_bytes",
    kind="gauge",
    help="Bytes in use on what is mounted at shm (/dev/shm), tmp, home.",
    labels=(*NODE, "volume"),
    unit="bytes",
)
VOLUME_SIZE = Metric(
    name="vidgen_volume_size_bytes",
    kind="gauge",
    help="Size of what is mounted at shm (/dev/shm), tmp, home.",
    labels=(*NODE, "volume"),
    unit="bytes",
)
NODE_PROCESSES = Metric(
    name="vidgen_node_processes",
    kind="gauge",
    help="Processes of vidgen on the node that tell the exporter about themselves.",
    labels=NODE,
)
NODE_GPUS = Metric(
    name="vidgen_node_gpus", kind="gauge", help="GPUs that NVML sees on the node.", labels=NODE
)
GPU_ERRORS = Metric(
    name="vidgen_gpu_read_errors_total",
    kind="counter",
    help="Readings that NVML refused.",
    labels=NODE,
)
GPU_INFO = Metric(
    name="vidgen_gpu_info",
    kind="gauge",
    help="1 for each GPU of the node.",
    labels=(*_GPU, "model"),
    needs="gpu",
)
GPU_UTILIZATION = Metric(
    name="vidgen_gpu_utilization_ratio",
    kind="gauge",
    help="Share of the last moment in which a kernel ran.",
    labels=_GPU,
    unit="ratio",
    needs="gpu",
)
GPU_MEMORY_USED = Metric(
    name="vidgen_gpu_memory_used_bytes",
    kind="gauge",
    help="GPU memory in use.",
    labels=_GPU,
    unit="bytes",
    needs="gpu",
)
GPU_MEMORY_SIZE = Metric(
    name="vidgen_gpu_memory_size_bytes",
    kind="gauge",
    help="GPU memory there is.",
    labels=_GPU,
    unit="bytes",
    needs="gpu",
)
GPU_POWER = Metric(
    name="vidgen_gpu_power_watts",
    kind="gauge",
    help="Power drawn.",
    labels=_GPU,
    unit="watts",
    needs="gpu",
)
GPU_TEMPERATURE = Metric(
    name="vidgen_gpu_temperature_celsius",
    kind="gauge",
    help="Temperature of the chip.",
    labels=_GPU,
    unit="celsius",
    needs="gpu",
)
GPU_SM_CLOCK = Metric(
    name="vidgen_gpu_sm_clock_hertz",
    kind="gauge",
    help="Clock of the multiprocessors; it falls when power or heat limit them.",
    labels=_GPU,
    unit="hertz",
    needs="gpu",
)
GPU_ECC_ERRORS = Metric(
    name="vidgen_gpu_ecc_errors_total",
    kind="counter",
    help="Memory errors since the driver was loaded: corrected or uncorrected.",
    labels=(*_GPU, "severity"),
    needs="gpu",
)

# Each sweep, told by its driver. Its trials are runs.
SWEEP_TRIALS = Metric(
    name="vidgen_sweep_trials",
    kind="gauge",
    help="Trials by state; stopped ones were given up early.",
    labels=(*SWEEP, "state"),
)
SWEEP_TRIALS_WANTED = Metric(
    name="vidgen_sweep_trials_wanted",
    kind="gauge",
    help="Trials that the sweep may start in all.",
    labels=SWEEP,
)
SWEEP_BEST = Metric(
    name="vidgen_sweep_best_score",
    kind="gauge",
    help="Best value of the metric that the sweep looks at, so far.",
    labels=(*SWEEP, "metric"),
)
SWEEP_SPENT = Metric(
    name="vidgen_sweep_gpu_seconds_spent",
    kind="gauge",
    help="GPU-seconds of all trials so far; of processors where there are no GPUs.",
    labels=SWEEP,
    unit="seconds",
)
SWEEP_SAVED = Metric(
    name="vidgen_sweep_gpu_seconds_saved",
    kind="gauge",
    help="GPU-seconds that stopped trials would still have taken.",
    labels=SWEEP,
    unit="seconds",
)
SWEEP_EXPLOITS = Metric(
    name="vidgen_sweep_exploits_total",
    kind="counter",
    help="Times a trial went on from another one's weights.",
    labels=SWEEP,
)
TRIAL_INFO = Metric(
    name="vidgen_trial_info",
    kind="gauge",
    help="1 for each trial: the run that it is.",
    labels=(*SWEEP, "run"),
)

METRICS: dict[str, Metric] = {
    row.name: row for row in list(vars().values()) if isinstance(row, Metric)
}
