"""Dashboards of what runs stand on: sweeps, the data path, nodes and GPUs."""

from __future__ import annotations

from grafana_panels import (
    IN_NAMESPACE,
    NAMESPACE,
    OF_RANK,
    OF_RUN,
    OF_SWEEP,
    RANK,
    RUN,
    SWEEP,
    Panel,
    dashboard,
    of,
    quantile,
    rate,
)

from vidgen.observe import metric_table as m

TOTAL = 'part="total"'


def share_of_waiting(by: str) -> str:
    """Data wait over the whole step."""
    waits = rate(m.PHASE_SECONDS, OF_RANK, 'phase="data_wait"', suffix="_sum")
    steps = rate(m.STEP_SECONDS, OF_RANK, suffix="_sum")
    return f"sum by ({by}) ({waits}) / sum by ({by}) ({steps})"


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
                    unit="short", kind="number",
                    queries=[(of(m.DATASET_CLIPS, OF_RUN), "{{run}} {{split}}")],
                ),
                Panel(
                    title="Source videos", text="Kept, rejected or skipped when it was made.",
                    unit="short", kind="number",
                    queries=[(of(m.DATASET_SOURCES, OF_RUN), "{{run}} {{outcome}}")],
                ),
                Panel(
                    title="Clips set aside",
                    text="By rank, since its start: they do not decode, and others stand in.",
                    unit="none", queries=[(of(m.DATA_SET_ASIDE, OF_RANK), "{{run}} {{rank}}")],
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
