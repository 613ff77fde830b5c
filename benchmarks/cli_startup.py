"""How long the command lines take to start, against the least a click program can take.

    python benchmarks/cli_startup.py [--runs 15] [--json]

Prints `vidgen-cloud --help` over `python -c "import click"` (limit 2.5) and the seconds of
`vidgen-cloud submit --dry-run` with a local platform file (limit 1 s). A start is one process that
computes, so its processor seconds are what it takes on an idle machine; wall time, printed beside
them, also counts what else the machine does. Commands take turns, the least of all runs counts.
Exit code 1 over a limit.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HELP_LIMIT = 2.5  # times `import click`
DRY_RUN_LIMIT_S = 1.0

CLOUD = "import sys; from vidgen.cloud.cli import main; sys.argv[0] = 'vidgen-cloud'; main()"
PLATFORM = """
version: 0.1.0
image: registry.example.com/vidgen:0.1.0
serviceAccount: vidgen-run
objectStore: {url: s3://bucket, secretName: s3}
pools:
  a100:
    gpusPerNode: 8
    maxNodes: 4
    resources: {requests: {cpu: "11", memory: 120Gi}, limits: {memory: 120Gi}}
"""
RUN = """
name: startup
data: {synthetic: {clips: 8}}
model: {family: flow, conditions: [text]}
"""


def seconds(arguments: list[str], folder: Path) -> tuple[float, float]:
    """(processor, wall) seconds of one process."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *arguments], check=True, cwd=folder, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, env={**os.environ, "KUBECONFIG": str(folder / "none")},
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, time.perf_counter() - began


def measure(runs: int) -> dict[str, float]:
    """The least processor and wall seconds of each command over interleaved runs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "platform.yaml").write_text(PLATFORM)
        (folder / "run.yaml").write_text(RUN)
        submit = ["submit", "run.yaml", "--dry-run", "--platform", "platform.yaml", "-o", "yaml"]
        commands = {
            "import_click": ["-c", "import click"],
            "help": ["-c", CLOUD, "--help"],
            "dry_run": ["-c", CLOUD, *submit],
        }
        taken: dict[str, list[tuple[float, float]]] = {what: [] for what in commands}
        for _ in range(runs + 1):
            for what, arguments in commands.items():
                taken[what].append(seconds(arguments, folder))
    found: dict[str, float] = {}
    for what, times in taken.items():
        used, wall = zip(*times[1:], strict=True)  # the first round writes bytecode
        found |= {f"{what}_cpu_s": min(used), f"{what}_wall_s": min(wall)}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = measure(given.runs)
    found["help_ratio"] = found["help_cpu_s"] / found["import_click_cpu_s"]
    if given.json:
        print(json.dumps(found))
    else:
        for what, name in (
            ("import_click", "import click"),
            ("help", "vidgen-cloud --help"),
            ("dry_run", "submit --dry-run"),
        ):
            used, wall = 1000 * found[f"{what}_cpu_s"], 1000 * found[f"{what}_wall_s"]
            print(f"{name:<20} {used:5.0f} ms processor, {wall:5.0f} ms wall")
        print(f"ratio help / import click: {found['help_ratio']:.2f}, limit {HELP_LIMIT}")
        print(f"submit --dry-run: {found['dry_run_cpu_s']:.2f} s, limit {DRY_RUN_LIMIT_S:g} s")
    over = found["help_ratio"] > HELP_LIMIT or found["dry_run_cpu_s"] > DRY_RUN_LIMIT_S
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
