"""vidgen's five dashboards. `python helm/generate.py` writes them into the chart as JSON."""

from __future__ import annotations

from grafana_panels import (
    IN_NAMESPACE,
    OF_RANK,
    OF_RUN,
    OF_SWEEP,
    Panel,
    choice,
    dashboard,
    given,
    of,
    quantile,
    rate,
)

from vidgen.observe import metric_table as m

NAMESPACE = choice("namespace", m.NODE_PROCESSES)
RUN = choice("run", m.STEP, IN_NAMESPACE)
RANK = choice("rank", m.LAST_STEP_TIME, OF_RUN)
SWEEP = choice("sweep", m.SWEEP_TRIALS, IN_NAMESPACE)
IN_STEP = f'phase=~"{"|".join(m.STEP_PHASES)}"'
TOTAL = 'part="total"'
# A rank's GPU reading, labelled with its run and rank.
MINE = "* on (gpu_uuid) group_left () "


def share_of_waiting(by: str) -> str:
    """Data wait over the whole step."""
    waits = rate(m.PHASE_SECONDS, OF_RANK, 'phase="data_wait"', suffix="_sum")
    steps = rate(m.STEP_SECONDS, OF_RANK, suffix="_sum")
    return f"sum by ({by}) ({waits}) / sum by ({by}) ({steps})"


def of_rank_gpu(metric: m.Metric) -> str:
    return f"{of(m.RANK_GPU, OF_RANK)} {MINE}{of(metric, IN_NAMESPACE)}"


def progress() -> str:
    return f"{of(m.STEP, OF_RUN)} / {of(m.STEPS_WANTED, OF_RUN)}"


def fleet() -> str:
    per_gpu, in_use = of(m.GPU_UTILIZATION, IN_NAMESPACE), of(m.RANK_GPU, IN_NAMESPACE)
    running = of(m.RUN_OUTCOME, IN_NAMESPACE, 'outcome="running"')
    return dashboard(
        "fleet",
        "vidgen / fleet",
        "Who uses which GPUs, how well, and what idle ones cost.",
        [NAMESPACE, given("gpu_price", "price of a GPU-hour", "2.0")],
        {
            "Now": [
                Panel(
                    title="Runs", text="Runs that have not ended.", unit="none", kind="number",
                    width=4, queries=[(f"count({running})", "")],
                ),
                Panel(
                    title="Nodes", text="Nodes, or pods that stand for them, with an exporter.",
                    unit="none", kind="number", width=4,
                    queries=[(f"count({of(m.NODE_PROCESSES, IN_NAMESPACE)})", "")],
                ),
                Panel(
                    title="GPUs", text="GPUs that are held, with or without a rank.",
                    unit="none", kind="number", width=4,
                    queries=[(f"sum({of(m.NODE_GPUS, IN_NAMESPACE)})", "")],
                ),
                Panel(
                    title="GPUs with a rank", text="GPUs that a rank of some run computes on.",
                    unit="none", kind="number", width=4,
                    queries=[(f"count(count by (gpu_uuid) ({in_use}))", "")],
                ),
                Panel(
                    title="GPU utilisation", text="Mean over all GPUs that are held.",
                    unit="percentunit", kind="number", width=4, queries=[(f"avg({per_gpu})", "")],
                ),
                Panel(
                    title="Idle cost per hour",
                    text="Unused share of all GPUs, times the price of a GPU-hour above.",
                    unit="currencyUSD", kind="number", width=4,
                    queries=[(f"sum(1 - {per_gpu}) * $gpu_price", "")],
                ),
            ],
            "Who has what": [
                Panel(
                    title="Runs", text="Running runs, their folders, and their workers.",
                    unit="none", kind="table", width=12,
                    queries=[(
                        f"{of(m.RUN_INFO, IN_NAMESPACE)} * on (run) group_left () {running}", "",
                    )],
                ),
                Panel(
                    title="GPUs by rank", text="Which rank of which run computes on which GPU.",
                    unit="none", kind="table", width=12,
                    queries=[(
                        f"{in_use} * on (gpu_uuid) group_left (node, gpu, model) "
                        f"{of(m.GPU_INFO, IN_NAMESPACE)}", "",
                    )],
                ),
            ],
            "Use": [
                Panel(
                    title="GPU utilisation by run", text="Mean over the GPUs of each run's ranks.",
                    unit="percentunit", width=12,
                    queries=[(f"avg by (run) ({in_use} {MINE}{per_gpu})", "{{run}}")],
                ),
                Panel(
                    title="Throughput by run", text="Training clips per second over all ranks.",
                    unit="cps", width=12,
                    queries=[(of(m.CLIPS_PER_SECOND, IN_NAMESPACE), "{{run}}")],
                ),
                Panel(
                    title="Progress by run", text="Steps done of the steps wanted.",
                    unit="percentunit", width=12,
                    queries=[(
                        f"{of(m.STEP, IN_NAMESPACE)} / {of(m.STEPS_WANTED, IN_NAMESPACE)}",
                        "{{run}}",
                    )],
                ),
                Panel(
                    title="Processors by node", text="Share of each node's processors in use.",
                    unit="percentunit", width=12,
                    queries=[(of(m.NODE_CPU, IN_NAMESPACE), "{{node}}")],
                ),
            ],
        },
    )  # fmt: skip


def run() -> str:
    waited = rate(m.PHASE_SECONDS, OF_RANK, 'phase=~"data_wait|forward"', suffix="_sum")
    steps = rate(m.STEP_SECONDS, OF_RANK, suffix="_count")
    left = f"({of(m.STEPS_WANTED, OF_RUN)} - {of(m.STEP, OF_RUN)})"
    return dashboard(
        "run",
        "vidgen / run",
        "One run, or several beside each other: does it learn, how fast, and what holds it up.",
        [NAMESPACE, RUN, RANK],
        {
            "Now": [
                Panel(
                    title="Progress", text="Steps done of the steps wanted.", unit="percentunit",
                    kind="number", width=4, queries=[(progress(), "{{run}}")],
                ),
                Panel(
                    title="Time left", text="Steps left at the speed of the last minutes.",
                    unit="s", kind="number", width=4,
                    queries=[(f"{left} / clamp_min(deriv({of(m.STEP, OF_RUN)}[10m]), 1e-9)",
                              "{{run}}")],
                ),
                Panel(
                    title="Epoch", text="Passes over the training clips.", unit="short",
                    kind="number", width=4, queries=[(of(m.EPOCH, OF_RUN), "{{run}}")],
                ),
                Panel(
                    title="Outcome", text="How the run ended, or that it has not.", unit="none",
                    kind="number", width=4,
                    queries=[(of(m.RUN_OUTCOME, OF_RUN), "{{run}} {{outcome}}")],
                ),
                Panel(
                    title="Folder and samples",
                    text="The run folder: sample videos are in its samples/, and `vidgen report "
                    "FOLDER` puts them on a page.",
                    unit="none", kind="table", width=8, queries=[(of(m.RUN_INFO, OF_RUN), "")],
                ),
            ],
            "Does it learn": [
                Panel(
                    title="Training loss", text="By turn; 'total' is what is minimised.",
                    unit="short", width=12,
                    queries=[(of(m.LOSS, OF_RUN), "{{run}} {{turn}} {{part}}")],
                ),
                Panel(
                    title="Validation loss", text="Of the averaged weights on held-out clips.",
                    unit="short", width=12,
                    queries=[(of(m.VALIDATION_LOSS, OF_RUN), "{{run}} {{part}}")],
                ),
                Panel(
                    title="Gradient norm", text="Before clipping.", unit="short",
                    queries=[(of(m.GRADIENT_NORM, OF_RUN), "{{run}} {{turn}}")],
                ),
                Panel(
                    title="Learning rate", text="As the schedule has it.", unit="sci",
                    queries=[(of(m.LEARNING_RATE, OF_RUN), "{{run}}")],
                ),
                Panel(
                    title="Scores", text="Of `vidgen evaluate`; equal protocols compare.",
                    unit="short",
                    queries=[(of(m.EVALUATION_SCORE, OF_RUN), "{{run}} {{score}} {{protocol}}")],
                ),
            ],
            "How fast": [
                Panel(
                    title="Clips per second", text="Over all ranks.", unit="cps",
                    queries=[(of(m.CLIPS_PER_SECOND, OF_RUN), "{{run}}")],
                ),
                Panel(
                    title="Frames per second", text="Over all ranks.", unit="cps",
                    queries=[(of(m.FRAMES_PER_SECOND, OF_RUN), "{{run}}")],
                ),
                Panel(
                    title="MFU", text="Share of what the device does in a large matrix product.",
                    unit="percentunit", queries=[(of(m.MFU, OF_RANK), "{{run}} {{rank}}")],
                ),
                Panel(
                    title="Arithmetic", text="What the model needs, by rank.", unit="flops",
                    queries=[(of(m.FLOPS, OF_RANK), "{{run}} {{rank}}")],
                ),
                Panel(
                    title="Seconds per step", text="Median and 95th percentile over ranks.",
                    unit="s",
                    queries=[
                        (quantile(0.5, m.STEP_SECONDS, OF_RANK, "run"), "{{run}} median"),
                        (quantile(0.95, m.STEP_SECONDS, OF_RANK, "run"), "{{run}} 95 %"),
                    ],
                ),
                Panel(
                    title="Data wait or compute",
                    text="Mean seconds of a rank per second, by phase of the step.",
                    unit="percentunit", stacked=True,
                    queries=[(
                        "avg by (run, phase) "
                        f"({rate(m.PHASE_SECONDS, OF_RANK, IN_STEP, suffix='_sum')})",
                        "{{run}} {{phase}}",
                    )],
                ),
                Panel(
                    title="Interruptions", text="Validation, samples, and checkpoints' stalls.",
                    unit="percentunit", stacked=True,
                    queries=[(
                        "avg by (run, phase) (" + rate(
                            m.PHASE_SECONDS, OF_RANK, 'phase=~"validate|sample|checkpoint"',
                            suffix="_sum",
                        ) + ")",
                        "{{run}} {{phase}}",
                    )],
                ),
                Panel(
                    title="Time before waiting for others, by rank",
                    text="Data wait and forward pass per step: the longest is the straggler.",
                    unit="s", width=16,
                    queries=[(
                        f"sum by (run, rank) ({waited}) / sum by (run, rank) ({steps})",
                        "{{run}} {{rank}}",
                    )],
                ),
            ],
            "GPUs": [
                Panel(
                    title="Utilisation", text="Of the GPU that each rank computes on.",
                    unit="percentunit", width=12,
                    queries=[(of_rank_gpu(m.GPU_UTILIZATION), "{{run}} {{rank}}")],
                ),
                Panel(
                    title="Memory", text="Of the GPU that each rank computes on.", unit="bytes",
                    width=12, queries=[(of_rank_gpu(m.GPU_MEMORY_USED), "{{run}} {{rank}}")],
                ),
            ],
        },
    )  # fmt: skip


def sweep() -> str:
    join = f"* on (run) group_left (sweep) {of(m.TRIAL_INFO, OF_SWEEP)}"
    spent, saved = of(m.SWEEP_SPENT, OF_SWEEP), of(m.SWEEP_SAVED, OF_SWEEP)
    return dashboard(
        "sweep",
        "vidgen / sweep",
        "A sweep: how far it is, the best so far, and what stopping early has saved.",
        [NAMESPACE, SWEEP],
        {
            "Now": [
                Panel(
                    title="Trials", text="By state; stopped ones were given up early.",
                    unit="none", kind="number", width=10,
                    queries=[(of(m.SWEEP_TRIALS, OF_SWEEP), "{{sweep}} {{state}}")],
                ),
                Panel(
                    title="Trials in all", text="How many the sweep may start.", unit="none",
                    kind="number", width=4,
                    queries=[(of(m.SWEEP_TRIALS_WANTED, OF_SWEEP), "{{sweep}}")],
                ),
                Panel(
                    title="Best so far", text="Of the metric that the sweep looks at.",
                    unit="short", kind="number", width=5,
                    queries=[(of(m.SWEEP_BEST, OF_SWEEP), "{{sweep}} {{metric}}")],
                ),
                Panel(
                    title="Saved", text="Share of all GPU time that stopping early has saved.",
                    unit="percentunit", kind="number", width=5,
                    queries=[(f"{saved} / ({saved} + {spent})", "{{sweep}}")],
                ),
            ],
            "Over time": [
                Panel(
                    title="Trials by state", text="Stacked.", unit="none", stacked=True, width=12,
                    queries=[(of(m.SWEEP_TRIALS, OF_SWEEP), "{{sweep}} {{state}}")],
                ),
                Panel(
                    title="Best score", text="So far.", unit="short", width=12,
                    queries=[(of(m.SWEEP_BEST, OF_SWEEP), "{{sweep}} {{metric}}")],
                ),
                Panel(
                    title="GPU time", text="Spent, and saved by stopping early.", unit="s",
                    width=12, queries=[(spent, "{{sweep}} spent"), (saved, "{{sweep}} saved")],
                ),
                Panel(
                    title="Exploits", text="Trials that went on from another one's weights.",
                    unit="none", width=12,
                    queries=[(of(m.SWEEP_EXPLOITS, OF_SWEEP), "{{sweep}}")],
                ),
            ],
            "Trials": [
                Panel(
                    title="Validation loss by trial", text="Of running trials.", unit="short",
                    width=12,
                    queries=[(
                        f"{of(m.VALIDATION_LOSS, IN_NAMESPACE, TOTAL)} {join}", "{{run}}",
                    )],
                ),
                Panel(
                    title="Throughput by trial", text="Clips per second of running trials.",
                    unit="cps", width=12,
                    queries=[(f"{of(m.CLIPS_PER_SECOND, IN_NAMESPACE)} {join}", "{{run}}")],
                ),
            ],
        },
    )  # fmt: skip


def data() -> str:
    return dashboard(
        "data",
        "vidgen / data path",
        "From stored videos to batches: what is read, how fast, and whether training waits for it.",
        [NAMESPACE, RUN, RANK],
        {
            "Does training wait": [
                Panel(
                    title="Share of time waiting for data", text="Of each rank's step.",
                    unit="percentunit", width=12,
                    queries=[(share_of_waiting("run, rank"), "{{run}} {{rank}}")],
                ),
                Panel(
                    title="Batches ready", text="Decoded ahead; at 0 the next step has to wait.",
                    unit="none", width=12,
                    queries=[(of(m.DATA_READY, OF_RANK), "{{run}} {{rank}}")],
                ),
                Panel(
                    title="Wait for a batch", text="Median and 95th percentile over ranks.",
                    unit="s",
                    queries=[
                        (quantile(q, m.PHASE_SECONDS, f'{OF_RANK}, phase="data_wait"', "run"),
                         "{{run}} " + name)
                        for q, name in ((0.5, "median"), (0.95, "95 %"))
                    ],
                ),
                Panel(
                    title="Clips per second", text="Trained on, by rank.", unit="cps",
                    queries=[(rate(m.DATA_CLIPS, OF_RANK), "{{run}} {{rank}}")],
                ),
                Panel(
                    title="Processors by rank",
                    text="Cores that a rank and its decoder processes keep busy.", unit="short",
                    queries=[(rate(m.CPU_SECONDS, OF_RANK), "{{run}} {{rank}}")],
                ),
            ],
            "Stores": [
                Panel(
                    title="Bytes read", text="From local and remote stores, by rank.", unit="Bps",
                    queries=[(rate(m.DATA_BYTES, OF_RANK), "{{run}} {{rank}}")],
                ),
                Panel(
                    title="Requests", text="To object stores, by rank.", unit="reqps",
                    queries=[(rate(m.DATA_REQUESTS, OF_RANK), "{{run}} {{rank}}")],
                ),
                Panel(
                    title="Retries", text="Requests that had to be tried again, by rank.",
                    unit="reqps", queries=[(rate(m.DATA_RETRIES, OF_RANK), "{{run}} {{rank}}")],
                ),
            ],
            "The data set": [
                Panel(
                    title="Clips by split", text="Of the data set that each run trains on.",
                    unit="short", kind="number", width=12,
                    queries=[(of(m.DATASET_CLIPS, OF_RUN), "{{run}} {{split}}")],
                ),
                Panel(
                    title="Source videos", text="Kept, rejected or skipped when it was made.",
                    unit="short", kind="number", width=12,
                    queries=[(of(m.DATASET_SOURCES, OF_RUN), "{{run}} {{outcome}}")],
                ),
            ],
        },
    )  # fmt: skip


def health() -> str:
    def full(used: m.Metric, size: m.Metric) -> str:
        return f"{of(used, IN_NAMESPACE)} / {of(size, IN_NAMESPACE)}"

    return dashboard(
        "health",
        "vidgen / health",
        "What breaks runs: silence, old checkpoints, restarts, full volumes, sick GPUs.",
        [NAMESPACE, RUN, RANK],
        {
            "Runs": [
                Panel(
                    title="Since the last step", text="By rank.", unit="s",
                    queries=[(f"time() - {of(m.LAST_STEP_TIME, OF_RANK)}", "{{run}} {{rank}}")],
                ),
                Panel(
                    title="Age of the newest checkpoint", text="What a crash now would cost.",
                    unit="s",
                    queries=[(f"time() - {of(m.CHECKPOINT_TIME, OF_RUN)}", "{{run}}")],
                ),
                Panel(
                    title="Checkpoint time and notice",
                    text="A checkpoint has to be faster than the notice before a node goes.",
                    unit="s",
                    queries=[
                        (of(m.CHECKPOINT_SECONDS, OF_RUN), "{{run}} checkpoint"),
                        (of(m.PREEMPTION_NOTICE, OF_RUN), "{{run}} notice"),
                    ],
                ),
                Panel(
                    title="Checkpoint size", text="Of the newest.", unit="bytes",
                    queries=[(of(m.CHECKPOINT_BYTES, OF_RUN), "{{run}}")],
                ),
                Panel(
                    title="Restarts and preemptions", text="Over the whole life of the run.",
                    unit="none",
                    queries=[
                        (of(m.RESTARTS, OF_RUN), "{{run}} restarts"),
                        (of(m.PREEMPTIONS, OF_RUN), "{{run}} preemptions"),
                    ],
                ),
                Panel(
                    title="Time since the start", text="It falls to 0 at each restart.", unit="s",
                    queries=[(f"time() - {of(m.RUN_STARTED, OF_RUN)}", "{{run}}")],
                ),
            ],
            "Nodes": [
                Panel(
                    title="Memory by node", text="Share of what may be used before processes die.",
                    unit="percentunit",
                    queries=[(full(m.NODE_MEMORY_USED, m.NODE_MEMORY_SIZE), "{{node}}")],
                ),
                Panel(
                    title="Volumes", text="Share in use of /dev/shm, /tmp and the home folder.",
                    unit="percentunit",
                    queries=[(full(m.VOLUME_USED, m.VOLUME_SIZE), "{{node}} {{volume}}")],
                ),
                Panel(
                    title="Memory by rank", text="Of the rank and its decoder processes.",
                    unit="bytes", queries=[(of(m.RESIDENT_BYTES, OF_RANK), "{{run}} {{rank}}")],
                ),
                Panel(
                    title="Processes", text="Ranks and sweeps that tell each node's exporter.",
                    unit="none", queries=[(of(m.NODE_PROCESSES, IN_NAMESPACE), "{{node}}")],
                ),
            ],
            "GPUs": [
                Panel(
                    title="Temperature", text="Of each chip.", unit="celsius",
                    queries=[(of(m.GPU_TEMPERATURE, IN_NAMESPACE), "{{node}} {{gpu}}")],
                ),
                Panel(
                    title="Power", text="Drawn by each GPU.", unit="watt",
                    queries=[(of(m.GPU_POWER, IN_NAMESPACE), "{{node}} {{gpu}}")],
                ),
                Panel(
                    title="SM clock", text="Falls when heat or power limit a GPU.", unit="hertz",
                    queries=[(of(m.GPU_SM_CLOCK, IN_NAMESPACE), "{{node}} {{gpu}}")],
                ),
                Panel(
                    title="GPU memory", text="Share in use.", unit="percentunit",
                    queries=[(full(m.GPU_MEMORY_USED, m.GPU_MEMORY_SIZE), "{{node}} {{gpu}}")],
                ),
                Panel(
                    title="Memory errors", text="Since the driver was loaded.", unit="none",
                    queries=[(of(m.GPU_ECC_ERRORS, IN_NAMESPACE), "{{node}} {{gpu}} {{severity}}")],
                ),
                Panel(
                    title="Refused readings", text="NVML errors; a GPU off its bus shows here.",
                    unit="none", queries=[(of(m.GPU_ERRORS, IN_NAMESPACE), "{{node}}")],
                ),
            ],
        },
    )  # fmt: skip


DASHBOARDS = {"fleet": fleet, "run": run, "sweep": sweep, "data": data, "health": health}
