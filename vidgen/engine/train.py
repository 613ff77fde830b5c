"""`train`: from a config to a finished run, in this process, under torchrun or on Ray Train."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from vidgen.config.run import RunConfig
from vidgen.data.ensure import ensure_dataset
from vidgen.engine.calibrate import calibrate
from vidgen.engine.cheating import progress_of
from vidgen.engine.checkpoint import load_checkpoint
from vidgen.engine.continuing import finished_step, prepare_run
from vidgen.engine.distributed import Ranks, join_ranks
from vidgen.engine.export import export_model, is_exported
from vidgen.engine.loop import Job, run_loop
from vidgen.engine.objective import doubts_of, show_real_clips
from vidgen.engine.sinks import open_sinks
from vidgen.engine.start import starting_weights
from vidgen.engine.state import State
from vidgen.engine.stop import Stop
from vidgen.errors import ConfigError
from vidgen.observe.progress import Display, Watcher
from vidgen.observe.recorder import Recorder
from vidgen.storage.run_folder import EXPORT, RunFolder

STOPPING = "stopping: this step is finished and saved first (Ctrl-C again: at once, unsaved)"


def train(config: RunConfig, *, resume: str | None = None) -> str:
    """Train a run, or go on with it when its folder already holds one. Returns the folder's url.

    Args:
        config: the run; `scale.workers` decides where it trains.
        resume: a run folder that must exist; the config must agree with what is trained there.

    Raises:
        Interrupted: stopped by Ctrl-C or SIGTERM, after saving.
        VidgenError: one line that says what is wrong.
    """
    if config.scale.workers:
        return _train_on_ray(config, resume)
    with join_ranks() as ranks:
        _check_shares(config, ranks)
        config = ranks.from_lead(partial(prepare_run, config, resume))
        with Watcher.of(config.train.steps, shown=ranks.lead) as display:
            display.say(_opening(config))
            if (done := finished_step(config)) is None:
                with Stop(lambda: display.say(STOPPING)) as stop:
                    run_rank(config, ranks, stop.requested, display)
            display.say(_closing(config, done))
    return str(config.run)


def _train_on_ray(config: RunConfig, resume: str | None) -> str:
    from vidgen.engine.ray_train import run_on_ray  # the only way to Ray

    config = prepare_run(config, resume)
    with Watcher.of(config.train.steps, shown=True) as display:
        display.say(_opening(config))
        if (done := finished_step(config)) is None:
            with Stop(lambda: display.say(STOPPING)) as stop:
                run_on_ray(config, stop, display)
        display.say(_closing(config, done))
    return str(config.run)


def run_rank(
    config: RunConfig,
    ranks: Ranks,
    stop_wanted: Callable[[], bool],
    display: Display,
    report: Callable[[dict[str, float]], None] = lambda metrics: None,
    *,
    save_wanted: Callable[[], bool] = lambda: False,
    leave: Callable[[], None] = lambda: None,
) -> None:
    """One rank's work, wherever it runs: restore, train, export. `config` is a prepared one.

    Args as in `Job`.
    """
    assert config.run is not None
    dataset = ensure_dataset(config)
    folder = RunFolder(config.run, config.storage)
    state = State(config, ranks.device, ranks, start=starting_weights(config, folder))
    show_real_clips(state.objective, dataset, config)
    step = load_checkpoint(folder, state.tree, ranks, say=display.say)
    if step is not None:
        state.loaded(step)
    if ranks.lead:
        display.say(state.describe(ranks.world))
        for doubt in doubts_of(state.objective, config):
            display.say(f"warning: {doubt}")
        if state.step < config.train.steps and is_exported(folder):
            folder.store.delete(EXPORT)  # of fewer steps
    progress = progress_of(
        config,
        ranks.from_lead(lambda: [m for m in folder.metrics() if m["step"] <= state.step]),
    )
    lead_folder = folder if ranks.lead else None
    sinks = open_sinks(config, state, ranks, dataset, folder)
    with Recorder(lead_folder, step=state.step, show=display.show, sinks=sinks) as recorder:
        run_loop(
            Job(
                config=config,
                dataset=dataset,
                state=state,
                folder=folder,
                ranks=ranks,
                recorder=recorder,
                stop_wanted=stop_wanted,
                report=report,
                save_wanted=save_wanted,
                leave=leave,
                say=display.say,
                progress=progress,
            )
        )
    if reason := progress.ended():
        display.say(reason)
        saved = ranks.from_lead(folder.checkpoint_steps)
        best = next(step for step in progress.ranking() if step in saved)
        if best != state.step:  # whose checkpoint was spared
            load_checkpoint(folder, state.tree, ranks, say=display.say, step=best)
            state.loaded(best)
    calibrate(state, dataset, config)
    export_model(state, folder, write=ranks.lead)
    ranks.barrier()


def _check_shares(config: RunConfig, ranks: Ranks) -> None:
    """The config checks this for Ray workers; torchrun's ranks show only here."""
    size, accumulate = config.train.batch_size, config.train.accumulate
    if size % (ranks.world * accumulate):
        raise ConfigError(
            f"train.batch_size {size} must be divisible by ranks x accumulate "
            f"= {ranks.world} x {accumulate}"
        )


def _opening(config: RunConfig) -> str:
    return f"run folder: {config.run}"


def _closing(config: RunConfig, done: int | None) -> str:
    first = (
        f"done: {finished_step(config)} steps in {config.run}"
        if done is None
        else f"nothing left to do: {config.run} is trained to step {done}"
    )
    return (
        f"{first}\nnext:\n"
        f"  vidgen generate {config.run}\n"
        f"  vidgen evaluate {config.run}\n"
        f"  vidgen report {config.run}"
    )
