"""Platform: what a cluster offers, as the chart writes it and `vidgen-cloud` reads it.

`helm install` renders one ConfigMap, `vidgen-platform` (label app.kubernetes.io/part-of=vidgen),
whose key `platform.yaml` is this model in camelCase. It holds no secret: credentials are named,
never copied.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from vidgen.cloud.quantity import parse_quantity
from vidgen.config.base import Strict
from vidgen.errors import ConfigError, did_you_mean

CONFIG_MAP = "vidgen-platform"
KEY = "platform.yaml"

Seconds = Annotated[int, Field(gt=0)]
DRAIN_MARGIN = 5  # seconds a pod keeps after Ray's drain: to write the last bytes and leave


class _Camel(Strict):
    """Keys as Kubernetes spells them: serviceAccount in YAML, service_account in Python."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Toleration(_Camel):
    """A Kubernetes toleration."""

    key: str = ""
    operator: Literal["Exists", "Equal"] = "Equal"
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    toleration_seconds: int | None = None


class ResourceNeeds(_Camel):
    """Requests and limits of a container; extended resources such as GPUs are added by the CLI."""

    requests: dict[str, str] = {}
    limits: dict[str, str] = {}

    @model_validator(mode="after")
    def _quantities(self) -> ResourceNeeds:
        for name, value in {**self.requests, **self.limits}.items():
            parse_quantity(value, name)
        return self


class ObjectStore(_Camel):
    """Where runs, data sets and code archives live."""

    url: str = Field(pattern=r"^s3://[^/]+(/.*[^/])?$")
    """s3://bucket or s3://bucket/prefix; runs go to <url>/runs/NAME, code to <url>/code/."""
    endpoint_url: str | None = None
    """S3-compatible server as the pods reach it; empty: AWS."""
    region: str | None = None
    secret_name: str | None = None
    """Existing Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; empty: the cloud identity
    of the service account."""
    pod_selector: dict[str, str] = {}
    """Labels of the pods of a store inside the cluster: laptops reach it through a port-forward."""
    port: int = 9000
    """Container port of those pods."""


class Auth(_Camel):
    """Who may open a run's Ray dashboard."""

    mode: Literal["token", "disabled"] = "token"
    secret_name: str | None = None
    """Existing Secret with the key auth_token; empty: KubeRay makes a token for each cluster."""


class Head(_Camel):
    """The pod that runs Ray's head and the driver: an on-demand CPU node."""

    resources: ResourceNeeds = ResourceNeeds(
        requests={"cpu": "1", "memory": "4Gi"}, limits={"cpu": "4", "memory": "8Gi"}
    )
    node_selector: dict[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()
    priority_class: str | None = None
    image: str | None = None
    """Empty: the pool's image, so that head and workers run the same Ray."""


class Pool(_Camel):
    """One kind of node. A worker is one rank: one GPU, or a share of a CPU node."""

    gpu: str = ""
    """What people call it, e.g. 'A100 40 GB'."""
    gpus_per_node: int = Field(default=0, ge=0)
    """0: a CPU pool, for trials."""
    gpu_memory: str | None = None
    """Memory of one GPU, e.g. 40Gi."""
    gpu_resource: str = "nvidia.com/gpu"
    """Extended resource that the device plugin offers."""
    image: str | None = None
    """Empty: the platform's. A V100 needs its own."""
    node_selector: dict[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()
    spot: bool = False
    max_nodes: int = Field(default=1, gt=0)
    """Nodes the pool grows to."""
    resources: ResourceNeeds = ResourceNeeds()
    """Of one worker: a pod with n workers asks n times as much."""
    shm: str | None = None
    """/dev/shm of one worker, e.g. 8Gi; empty: up to the pod's memory limit."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """What `train.precision: auto` becomes on this pool."""
    grace_period_seconds: Seconds = 90
    """terminationGracePeriodSeconds of its pods."""
    drain_seconds: Seconds = 60
    """How long Ray keeps a leaving node's workers alive, for a last checkpoint."""
    price_per_hour: float | None = Field(default=None, ge=0)
    """Of one node, a hint for plans; empty: unknown."""
    currency: str = "USD"
    priority_class: str | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Pool:
        if self.drain_seconds + DRAIN_MARGIN > self.grace_period_seconds:
            raise ValueError(
                f"gracePeriodSeconds {self.grace_period_seconds} must exceed drainSeconds "
                f"{self.drain_seconds} by {DRAIN_MARGIN} s, or pods are killed while they save"
            )
        for name, value in (("gpuMemory", self.gpu_memory), ("shm", self.shm)):
            if value is not None:
                parse_quantity(value, name)
        return self

    @property
    def is_gpu(self) -> bool:
        return self.gpus_per_node > 0


class RunDefaults(_Camel):
    """What every run gets unless it asks otherwise."""

    pool: str | None = None
    """Pool of `submit` without --pool; empty: the only one, or --pool must be given."""
    ttl_seconds: int = Field(default=60, ge=0)
    """Seconds a finished run keeps its pods (and GPUs)."""
    backoff_limit: int = Field(default=2, ge=0)
    """How often a failed run starts again from its last checkpoint."""
    start_deadline_seconds: int | None = Field(default=None, gt=0)
    """Give up when the pods are not running by then; empty: wait for a free node for ever."""
    deadline_seconds: int | None = Field(default=None, gt=0)
    """Longest a run may take, waiting included; empty: no limit."""
    stop_seconds: Seconds = 60
    """Time a cancelled run has to save a checkpoint."""
    pod_labels: dict[str, str] = {}
    pod_annotations: dict[str, str] = {}


class Monitoring(_Camel):
    """Where people look."""

    grafana_url: str | None = None
    metrics_port: int = 9400
    """Port of the workers' exporter."""


class Platform(_Camel):
    """Everything `vidgen-cloud` needs to know of a cluster."""

    version: str
    """Of the chart."""
    image: str
    """Image of runs, by digest or exact tag."""
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    ray_version: str = "2.60.0"
    """Ray inside the image."""
    service_account: str
    """The runs' own; it may reach the object store and nothing in the cluster."""
    object_store: ObjectStore
    queue: str | None = None
    """Kueue LocalQueue; empty: no Kueue."""
    auth: Auth = Auth()
    head: Head = Head()
    pools: dict[str, Pool] = Field(min_length=1)
    run: RunDefaults = RunDefaults()
    monitoring: Monitoring = Monitoring()

    def pool(self, name: str | None) -> tuple[str, Pool]:
        """A pool by name, or the default one. Raises ConfigError with the nearest name."""
        wanted = name or self.run.pool or (next(iter(self.pools)) if len(self.pools) == 1 else None)
        if wanted is None:
            raise ConfigError("no pool given", fix=f"Choose one: --pool {'|'.join(self.pools)}.")
        if wanted not in self.pools:
            raise ConfigError(
                f"no pool '{wanted}' on this platform{did_you_mean(wanted, self.pools)}",
                fix=f"Pools: {', '.join(self.pools)}.",
            )
        return wanted, self.pools[wanted]


def read_platform(path: Path) -> Platform:
    """From a file: the platform itself, or manifests with its ConfigMap, as Helm renders them.

    Raises ConfigError.
    """
    if not path.is_file():
        raise ConfigError(f"no such platform file: {path}")
    text = path.read_text(encoding="utf-8")
    for document in _documents(text, str(path)):
        match document:
            case {"kind": "ConfigMap", "metadata": {"name": "vidgen-platform"}, "data": data}:
                return parse_platform(data[KEY], f"{path}, ConfigMap {CONFIG_MAP}")
    return parse_platform(text, str(path))


def parse_platform(text: str, name: str) -> Platform:
    """Platform from YAML text; `name` stands for it in messages. Raises ConfigError."""
    documents = _documents(text, name)
    if len(documents) > 1:
        raise ConfigError(f"{name}: {len(documents)} documents, and no ConfigMap {CONFIG_MAP}")
    try:
        return Platform.model_validate(documents[0] if documents else None)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(
            f"{name}: {at + ': ' if at else ''}{message[0].lower()}{message[1:]}",
            fix="The chart and vidgen-cloud must be of the same version: `helm upgrade` or "
            "`pip install -U vidgen`.",
        ) from None


def _documents(text: str, name: str) -> list[Any]:
    import yaml

    try:
        return list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: not valid YAML: {error}") from None
