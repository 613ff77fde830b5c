"""RunConfig: everything that decides what a run does."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializeAsAny, ValidationInfo, field_validator, model_validator

from vidgen.config.base import FamilyConfig, PositiveInt, Ratio, Strict
from vidgen.config.data import DataConfig
from vidgen.config.families import check_conditions, config_class
from vidgen.config.observe import ObserveConfig
from vidgen.config.reward import RewardConfig


class GroupConfig(Strict):
    """Weights that move differently; the first group whose pattern fits a name has it."""

    match: str = Field(min_length=1)
    """Names, with * for anything, as in a checkpoint: model.network.text.*, critic.*."""
    lr: float = Field(default=1.0, ge=0)
    """Their learning rate over that of the rest."""
    weight_decay: float | None = Field(default=None, ge=0)
    """Theirs; empty: that of the rest."""


class OptimizerConfig(Strict):
    """How weights move."""

    name: Literal["adamw", "adam", "sgd", "rmsprop"] = "adamw"
    lr: float = Field(default=1e-3, gt=0)
    """Peak learning rate."""
    betas: tuple[Ratio, Ratio] = (0.9, 0.99)
    """Decay rates of Adam's two moments."""
    eps: float = Field(default=1e-8, gt=0)
    momentum: Ratio = 0.9
    """For sgd and rmsprop."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Never applied to norms, biases and embeddings (tensors of fewer than two dimensions)."""
    clip_norm: float = Field(default=1.0, ge=0)
    """Largest global gradient norm; 0 leaves gradients alone."""
    groups: tuple[GroupConfig, ...] = ()
    """Weights with a learning rate or weight decay of their own."""


class ScheduleConfig(Strict):
    """Learning rate over steps: linear warm-up, then the named shape."""

    kind: Literal["constant", "cosine", "linear", "wsd"] = "cosine"
    """wsd: warm-up, stable, then linear decay over the last `decay_ratio` of the steps."""
    warmup_steps: int = Field(default=100, ge=0)
    final_ratio: Ratio = 0.01
    """Learning rate at the last step over the peak."""
    decay_ratio: Ratio = 0.2
    """Share of the steps that decay, for wsd."""


class TrainConfig(Strict):
    """The loop."""

    steps: PositiveInt = 1000
    """Optimizer steps."""
    batch_size: PositiveInt = 32
    """Clips per optimizer step over all ranks and accumulated parts."""
    accumulate: PositiveInt = 1
    """Parts a rank's share of the batch is cut into, to save memory."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """auto: bf16 where the GPU has it, fp16 with loss scaling on older ones, fp32 on CPU."""
    recompute: bool = False
    """Compute the activations of a block again in the backward pass instead of keeping them."""
    compile: bool = False
    """Compile the model's blocks: the first steps take longer, the others less."""
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the averaged weights used for samples and scores; 0 turns it off."""
    log_every: PositiveInt = 10
    """Steps between lines in metrics.jsonl."""
    validate_every: int = Field(default=200, ge=0)
    """Steps between validation losses; 0: never."""
    validate_clips: PositiveInt = 64
    """Validation clips per pass, at most."""
    sample_every: int = Field(default=500, ge=0)
    """Steps between sample videos; 0: only at the end."""
    samples: PositiveInt = 8
    """Videos per sample grid."""
    checkpoint_every: int = Field(default=500, ge=0)
    """Steps between checkpoints; 0: only at the end."""
    save_patience_s: float = Field(default=900, ge=0)
    """How long training goes on while the store takes no checkpoint, seconds."""
    hang_timeout_s: float = Field(default=1800, ge=0)
    """Seconds without a step, a validation or a save after which a rank counts as hung; 0: never.
    Ranks then leave their stacks in the run folder and the attempt fails."""
    keep_checkpoints: PositiveInt = 2
    """Newest checkpoints kept."""
    keep_best: int = Field(default=0, ge=0)
    """Checkpoints kept besides because their early_stop.metric is best; each new best is saved."""


class EarlyStopConfig(Strict):
    """When to end a run that no longer gets better, and which checkpoints are its best."""

    metric: str = "val_loss"
    """The validation score that counts, as in metrics.jsonl."""
    mode: Literal["min", "max"] = "min"
    """Whether a smaller or a larger score is better."""
    patience: int = Field(default=0, ge=0)
    """Validations without a better score before the run ends with its best weights; 0: never."""
    min_gain: float = Field(default=0.0, ge=0)
    """By how much a score must be better to count as better."""


class ScaleConfig(Strict):
    """How many processes train, and on what."""

    workers: int = Field(default=0, ge=0)
    """Ray Train workers (ranks); 0 trains in this process without Ray."""
    min_workers: int = Field(default=0, ge=0)
    """Fewest workers to train with while nodes are missing; 0: always all of them. The batch and
    its order stay the same, so the curve does too."""
    resize_every_s: float = Field(default=60, gt=0)
    """Seconds between looks for room for more workers, when there are fewer than `workers`."""
    strategy: Literal["auto", "ddp", "fsdp", "hsdp"] = "auto"
    """How ranks share the model: ddp keeps a replica on each, fsdp a part, hsdp a replica on each
    node and a part on each of its ranks; auto: ddp if the state fits, else the others."""
    shard_ranks: int = Field(default=0, ge=0)
    """Ranks that hold one replica together under hsdp; 0: those of a node."""
    gpus_per_worker: float = Field(default=0, ge=0)
    cpus_per_worker: float = Field(default=1, gt=0)
    max_failures: int = Field(default=3, ge=0)
    """Worker failures survived by restarting from the last checkpoint."""
    start_timeout_s: PositiveInt = 600
    """Longest wait for all workers to start, seconds; a cluster may have to add nodes first."""


class SamplingConfig(Strict):
    """How videos are generated for sample grids, `generate` and `evaluate`."""

    guidance: float = Field(default=2.0, ge=0)
    """Classifier-free guidance scale; 1 turns it off."""
    batch_size: PositiveInt = 16
    """Videos generated at a time."""

    def with_guidance(self, guidance: float | None) -> SamplingConfig:
        """The same with another scale; None leaves it as it is."""
        return self if guidance is None else self.model_copy(update={"guidance": guidance})


class EvaluateConfig(Strict):
    """What `vidgen evaluate` measures by default."""

    clips: PositiveInt = 64
    """Held-out clips whose conditions are generated and scored, at most."""
    split: Literal["val", "test"] = "test"
    extractors: tuple[str, ...] = ("st-stats", "frame-stats")
    """What looks at videos for scores of sets: rows of the table of feature extractors."""
    weights: dict[str, str] = {}
    """Weights file by extractor, for those that need one: {i3d: /models/i3d_torchscript.pt}."""
    training_clips: int = Field(default=256, ge=0)
    """Training clips to look for copies among, at most; 0: none."""
    metrics: tuple[str, ...] = ()
    """Metrics of your own, `module:Class` of a VideoMetric each: generated videos against the
    held-out clips whose conditions they were given."""


class StorageConfig(Strict):
    """How object stores are reached. Credentials come from the environment, never from here."""

    endpoint_url: str | None = None
    """S3-compatible server; empty: AWS, or AWS_ENDPOINT_URL of the environment."""
    attempts: PositiveInt = 5
    """Tries per request, with exponential backoff and jitter."""


class RunConfig(Strict):
    """A complete training run."""

    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=63)
    """Short name; part of the run folder's name and a metrics label."""
    description: str = ""
    run: str | None = None
    """Run folder, local or s3://; empty: runs/<name>-<time>."""
    seed: int = Field(default=0, ge=0)
    """Everything random follows from it."""
    data: DataConfig
    model: SerializeAsAny[FamilyConfig]
    train: TrainConfig = TrainConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    early_stop: EarlyStopConfig = EarlyStopConfig()
    reward: RewardConfig | None = None
    """Go on with a trained model, by reward; empty: learn from the clips."""
    scale: ScaleConfig = ScaleConfig()
    sampling: SamplingConfig = SamplingConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    storage: StorageConfig = StorageConfig()
    observe: ObserveConfig = ObserveConfig()
    versions: dict[str, str] = {}
    """What the run was made with; written by `vidgen train`."""

    @field_validator("model", mode="before")
    @classmethod
    def _model_of_family(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, FamilyConfig):
            return value
        if not isinstance(value, dict) or not isinstance(value.get("family"), str):
            raise ValueError("model needs a 'family' key, the name of a model family")
        return config_class(value["family"]).model_validate(value)

    @model_validator(mode="after")
    def _fits_together(self) -> RunConfig:
        if self.data.url is None and self.data.synthetic is None:
            raise ValueError(
                "data needs 'url' (a folder made by `vidgen data prepare`) or 'synthetic'"
            )
        if self.early_stop.patience and not self.train.validate_every:
            raise ValueError("early_stop.patience needs train.validate_every > 0")
        if self.reward is not None and self.scale.strategy in ("fsdp", "hsdp"):
            raise ValueError("reward needs scale.strategy ddp: rollouts use whole models")
        if self.reward is not None and self.data.has_levels:
            raise ValueError("reward needs data.mean 0 and data.scale 1: rewards look at pixels")
        if self.reward is not None and not self.train.validate_every:
            raise ValueError("reward needs train.validate_every > 0: its guards are looked at then")
        ranks = max(1, self.scale.workers)
        if self.scale.min_workers > self.scale.workers:
            raise ValueError(
                f"scale.min_workers {self.scale.min_workers} is more than "
                f"scale.workers {self.scale.workers}"
            )
        size, shares = self.train.batch_size, ranks * self.train.accumulate
        if self.scale.min_workers and size < shares:
            raise ValueError(
                f"train.batch_size {size} is less than workers x accumulate = "
                f"{ranks} x {self.train.accumulate}"
            )
        if not self.scale.min_workers and size % shares:
            raise ValueError(
                f"train.batch_size {self.train.batch_size} must be divisible by "
                f"workers x accumulate = {ranks} x {self.train.accumulate}"
            )
        check_conditions(self.model)
        self.model.check_video(
            frames=self.data.frames, height=self.data.height, width=self.data.width
        )
        self._check_buckets()
        return self

    def _check_buckets(self) -> None:
        full = {name: getattr(self.data, name) for name in ("frames", "height", "width")}
        for bucket in self.data.buckets:
            shape = {name: getattr(bucket, name) or size for name, size in full.items()}
            for name, size in shape.items():
                if size > full[name]:
                    raise ValueError(
                        f"data.buckets: {name} {size} is more than data.{name} {full[name]}"
                    )
            if shape != full and not self.model.any_size:
                raise ValueError(
                    f"data.buckets: a model of family '{self.model.family}' takes one shape only"
                )
            self.model.check_video(**shape)
        edges = {0, *(b.since for b in self.data.buckets), *(b.until for b in self.data.buckets)}
        for step in sorted(e for e in edges if e is not None and e < self.train.steps):
            if self.data.buckets and not any(
                b.since <= step and (b.until is None or step < b.until) for b in self.data.buckets
            ):
                raise ValueError(f"data.buckets: step {step} has none")
