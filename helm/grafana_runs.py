"""Dashboards of runs: all of them beside each other, and one closely."""

from __future__ import annotations

from grafana_panels import (
    IN_NAMESPACE,
    MINE,
    NAMESPACE,
    OF_RANK,
    OF_RUN,
    RANK,
    RUN,
    Panel,
    dashboard,
    given,
    of,
    quantile,
    rate,
)

from vidgen.observe import metric_table as m

IN_STEP = f'phase=~"{"|".join(m.STEP_PHASES)}"'


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
            "Rewards": [
                Panel(
                    title="Reward", text="Of what each step makes, by reward.",
                    unit="short", queries=[(of(m.REWARD, OF_RUN), "{{run}} {{part}}")],
                ),
                Panel(
                    title="Reward on held-out conditions",
                    text="Of the averaged weights, by reward, and what the start gets.",
                    unit="short", queries=[(of(m.VALIDATION_REWARD, OF_RUN), "{{run}} {{part}}")],
                ),
                Panel(
                    title="Distance from the start",
                    text="As the learner measures it, and between videos of the same noise.",
                    unit="short",
                    queries=[
                        (of(m.REWARD_KL, OF_RUN), "{{run}} KL"),
                        (of(m.REWARD_MOVED, OF_RUN), "{{run}} moved"),
                    ],
                ),
                Panel(
                    title="Guards",
                    text="Held out against cheating, as shares of what the start has; below "
                    "reward.guards the run ends.",
                    unit="percentunit", width=12,
                    queries=[(of(m.REWARD_GUARD, OF_RUN), "{{run}} {{part}}")],
                ),
                Panel(
                    title="Diversity",
                    text="How far two videos of a condition differ, as a share of the start's.",
                    unit="percentunit", width=12,
                    queries=[(of(m.REWARD_DIVERSITY, OF_RUN), "{{run}}")],
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
