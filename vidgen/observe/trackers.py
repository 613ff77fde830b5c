"""TensorBoard, MLflow and Weights & Biases: each an extra, each a Sink of a few lines."""

from __future__ import annotations

import hashlib
import importlib.util
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vidgen.config.load import dump, leaves
from vidgen.config.observe import MlflowConfig, WandbConfig
from vidgen.config.run import RunConfig
from vidgen.errors import ConfigError
from vidgen.observe.metric_table import Outcome
from vidgen.observe.sink import Beside, Sink
from vidgen.storage.local import LocalStore
from vidgen.storage.run_folder import RunFolder

_UPLOAD_EVERY_S = 60.0
_LONGEST = 500  # characters of a value that MLflow takes
_TAG = "vidgen.run"  # finds the MLflow run of a run folder that goes on


def open_trackers(config: RunConfig, folder: RunFolder) -> list[Sink]:
    """The trackers that a run asks for, each in a thread of its own.

    Raises ConfigError when one's package is not installed.
    """
    wanted: dict[str, Callable[[], Sink]] = {}
    observe = config.observe
    if observe.tensorboard:
        wanted["tensorboard"] = lambda: TensorBoard(folder)
    if (mlflow := observe.mlflow) is not None:
        wanted["mlflow"] = lambda: Mlflow(mlflow, config, folder)
    if (wandb := observe.wandb) is not None:
        wanted["wandb"] = lambda: Wandb(wandb, config, folder)
    for name in wanted:
        if importlib.util.find_spec(name) is None:
            raise ConfigError(
                f"observe.{name} is set and the package '{name}' is not installed",
                fix=f"pip install 'vidgen[{name}]', or remove observe.{name}.",
            )
    return [Beside(name, make) for name, make in wanted.items()]


class TensorBoard(Sink):
    """Event files in tensorboard/ of the run folder; uploaded from time to time to a remote one."""

    def __init__(self, folder: RunFolder) -> None:
        from tensorboard.summary import Writer

        self._store = folder.store.sub("tensorboard")
        self._local = (
            self._store.root
            if isinstance(self._store, LocalStore)
            else Path(tempfile.mkdtemp(prefix="vidgen-tensorboard-"))
        )
        self._writer = Writer(str(self._local))
        self._sent = time.monotonic()

    def line(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step=step)
        if time.monotonic() - self._sent > _UPLOAD_EVERY_S:
            self._send()

    def close(self, outcome: Outcome) -> None:
        self._send()
        self._writer.close()

    def _send(self) -> None:
        self._writer.flush()
        if not isinstance(self._store, LocalStore):
            for path in self._local.iterdir():
                self._store.write(path.name, path)
        self._sent = time.monotonic()


class Mlflow(Sink):
    """A run of an MLflow experiment; a run folder that goes on goes on with its own."""

    _STATUS = {"done": "FINISHED", "interrupted": "KILLED"}

    def __init__(self, settings: MlflowConfig, config: RunConfig, folder: RunFolder) -> None:
        from mlflow.entities import Metric
        from mlflow.tracking import MlflowClient

        self._metric: Any = Metric
        self._client: Any = MlflowClient(tracking_uri=settings.uri)
        found = self._client.get_experiment_by_name(settings.experiment)
        experiment = (
            self._client.create_experiment(settings.experiment)
            if found is None
            else found.experiment_id
        )
        before = self._client.search_runs(
            [experiment], f"tags.`{_TAG}` = '{folder.url}'", max_results=1
        )
        if before:
            self._run = before[0].info.run_id
            self._client.update_run(self._run, status="RUNNING")
            return
        made = self._client.create_run(experiment, tags={_TAG: folder.url}, run_name=config.name)
        self._run = made.info.run_id
        for name, value in leaves(config).items():
            if value is not None:
                self._client.log_param(self._run, name, str(value)[:_LONGEST])

    def line(self, step: int, values: Mapping[str, float]) -> None:
        now = int(time.time() * 1e3)
        self._client.log_batch(
            self._run, metrics=[self._metric(name, v, now, step) for name, v in values.items()]
        )

    def close(self, outcome: Outcome) -> None:
        self._client.set_terminated(self._run, status=self._STATUS.get(outcome, "FAILED"))


class Wandb(Sink):
    """A Weights & Biases run, whose id follows from the run folder."""

    def __init__(self, settings: WandbConfig, config: RunConfig, folder: RunFolder) -> None:
        import wandb

        self._run: Any = wandb.init(
            project=settings.project,
            entity=settings.entity,
            mode=settings.mode,
            name=config.name,
            id=hashlib.sha256(folder.url.encode()).hexdigest()[:16],
            resume="allow",
            config=config.model_dump(mode="json"),
            notes=dump(config),
            settings=wandb.Settings(console="off", silent=True, x_disable_stats=True),
        )

    def line(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self, outcome: Outcome) -> None:
        self._run.finish(exit_code=int(outcome not in ("done", "interrupted")))
