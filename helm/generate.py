"""Write what follows from the chart: its README and the manifests in k8s/ for people without Helm;
and what it holds that is made by code: the dashboards.

    python helm/generate.py            write
    python helm/generate.py --check    exit 1 when something written is out of date

Needs helm-python-sdk, which brings Helm's own engine, and grafana-foundation-sdk.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import helm_python as helm
import yaml
from grafana_dashboards import DASHBOARDS
from helm_python import _native

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "helm" / "vidgen"
K8S = ROOT / "k8s"
NAMESPACE = "vidgen"
# What a cluster with the Prometheus operator and Kueue adds to Helm's built-in kinds.
OPERATORS = ("ray.io/v1", "monitoring.coreos.com/v1", "kueue.x-k8s.io/v1beta2")
OVERLAYS = {"eks": "eks-a100", "gke": "gke-a100", "aks": "aks-a100", "kind": "kind"}
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Values = dict[str, Any]
Object = dict[str, Any]


def merged(*values: Values) -> Values:
    """Deep merge as `-f a -f b` does; later wins."""
    out: Values = {}
    for one in values:
        for key, value in one.items():
            both = isinstance(value, dict) and isinstance(out.get(key), dict)
            out[key] = merged(out[key], value) if both else value
    return out


def preset(name: str) -> Values:
    """Values of presets/NAME.yaml."""
    values: Values = yaml.safe_load((CHART / "presets" / f"{name}.yaml").read_text())
    return values


def render_texts(
    values: Values, *, namespace: str = NAMESPACE, apis: tuple[str, ...] = OPERATORS
) -> dict[str, str]:
    """Template path -> text, NOTES.txt included. Raises helm.HelmError for wrong values."""
    # The package's own render() cannot say which API versions the cluster has; its engine can.
    options = {"name": "vidgen", "namespace": namespace, "api_versions": list(apis)}
    with helm.Chart.load(CHART) as chart:
        chart.validate_schema(values)
        text = _native.call_string(
            "helm_render", chart._raw(), json.dumps(values), json.dumps(options)
        )
    texts: dict[str, str] = json.loads(text)
    return texts


def render(
    values: Values, *, namespace: str = NAMESPACE, apis: tuple[str, ...] = OPERATORS
) -> list[Object]:
    """The objects of a release, in the order of their files."""
    texts = render_texts(values, namespace=namespace, apis=apis)
    return [
        document
        for path in sorted(texts)
        if path.endswith(".yaml")
        for document in yaml.load_all(texts[path], Loader=LOADER)
        if document
    ]


def readme() -> str:
    """README.md: every value with its comment, and the keys of a pool from the schema."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    pool = schema["$defs"]["gpuPool"]
    pool_rows = [
        f"| `{key}` | {entry['description']}{' Required.' if key in pool['required'] else ''} |"
        for key, entry in pool["properties"].items()
    ]
    value_rows = [
        f"| `{key}` | `{json.dumps(default)}` | {text} |" for key, default, text in documented()
    ]
    presets = ", ".join(f"`{path.stem}`" for path in sorted((CHART / "presets").glob("*.yaml")))
    template = (CHART / "README.md.in").read_text()
    for mark, rows in {"@VALUES@": value_rows, "@POOL@": pool_rows, "@PRESETS@": [presets]}.items():
        template = template.replace(mark, "\n".join(rows))
    return template


def documented() -> list[tuple[str, Any, str]]:
    """(key, default, comment) of every `# --` line in values.yaml."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    found, comment = [], ""
    stack: list[tuple[int, str]] = []
    for line in (CHART / "values.yaml").read_text().splitlines():
        if match := re.match(r"\s*# -- (.+)", line):
            comment = match[1]
        elif match := re.match(r"(\s*)([A-Za-z0-9]+):", line):
            indent = len(match[1])
            stack = [(depth, key) for depth, key in stack if depth < indent]
            stack.append((indent, match[2]))
            if comment:
                default = values
                for _, key in stack:
                    default = default[key]
                found.append((".".join(key for _, key in stack), default, comment))
            comment = ""
    return found


def overlay_values(overlay: str) -> Values:
    """An overlay's preset, with Secrets made by hand: rendering would write random ones down."""
    values = merged(preset(OVERLAYS[overlay]), {"auth": {"existingSecret": "vidgen-ray-auth"}})
    if values["objectStore"].get("embedded"):
        values = merged(values, {"objectStore": {"existingSecret": "vidgen-objectstore"}})
    return values


def manifests() -> dict[Path, str]:
    """k8s/base holds the objects that all overlays share, each overlay its own.

    Monitoring is a component: a cluster without the Prometheus operator refuses its kinds.
    """
    rendered: dict[str, dict[tuple[str, str], Object]] = {}
    monitoring: list[Object] = []
    for overlay in OVERLAYS:
        objects = {
            _identity(each): _without_helm(each)
            for each in render(overlay_values(overlay))
            if "helm.sh/hook" not in (each["metadata"].get("annotations") or {})
        }
        monitoring = [objects.pop(key) for key in list(objects) if of_monitoring(objects[key])]
        rendered[overlay] = objects
    first = next(iter(rendered.values()))
    shared = {
        key for key, each in first.items() if all(o.get(key) == each for o in rendered.values())
    }
    files = {
        K8S / "base" / "vidgen.yaml": _dump([first[key] for key in first if key in shared]),
        K8S / "components" / "monitoring" / "vidgen.yaml": _dump(monitoring),
    }
    for overlay, objects in rendered.items():
        own = [each for key, each in objects.items() if key not in shared]
        files[K8S / "overlays" / overlay / "vidgen.yaml"] = _dump(own)
    return files


def of_monitoring(each: Object) -> bool:
    """What only a cluster with the Prometheus operator or Grafana takes; alike in all overlays."""
    labels = each["metadata"].get("labels", {})
    return each["apiVersion"].startswith("monitoring.") or "grafana_dashboard" in labels


def _identity(each: Object) -> tuple[str, str]:
    return each["kind"], each["metadata"]["name"]


def _without_helm(each: Object) -> Object:
    """Manifests that kubectl applies are not managed by Helm."""
    labels = each["metadata"].get("labels", {})
    labels.pop("app.kubernetes.io/managed-by", None)
    labels.pop("app.kubernetes.io/instance", None)
    return each


def _dump(objects: list[Object]) -> str:
    head = "# Written by helm/generate.py from the chart; do not edit.\n"
    return head + yaml.safe_dump_all(objects, sort_keys=False, width=120)


def dashboards() -> dict[Path, str]:
    return {CHART / "dashboards" / f"{name}.json": make() for name, make in DASHBOARDS.items()}


def stale() -> list[Path]:
    """Files that are not what they would be if they were written now."""
    return _differing({**dashboards(), CHART / "README.md": readme(), **manifests()})


def _differing(files: dict[Path, str]) -> list[Path]:
    return [
        path
        for path, text in files.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]


def _write(files: dict[Path, str]) -> None:
    for path in _differing(files):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path], encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")


def main() -> int:
    if "--check" not in sys.argv[1:]:
        _write(dashboards())  # first: the manifests hold the chart's
        _write({CHART / "README.md": readme(), **manifests()})
        return 0
    found = stale()
    for path in found:
        print(f"{path.relative_to(ROOT)} is out of date: run python helm/generate.py")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
