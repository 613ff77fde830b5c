"""vidgen's scores need neither torch-fidelity nor torchvision, and no network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from importlib.metadata import requires
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_neither_is_required() -> None:
    names = {re.split(r"[^\w-]", line)[0].lower() for line in requires("vidgen") or []}
    assert "torchmetrics" in names
    assert not {"torchvision", "torch-fidelity", "lpips", "torch-geometric"} & names


def test_metrics_import_without_them() -> None:
    """In a fresh interpreter that refuses both."""
    script = """
        import sys
        sys.modules["torchvision"] = sys.modules["torch_fidelity"] = None
        import vidgen.engine.evaluate
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_torch_fidelity_without_torchvision_is_one_clear_line(tmp_path: Path) -> None:
    """It breaks the import of torchmetrics itself, whoever installed it."""
    package = tmp_path / "torch_fidelity"
    package.mkdir()
    (package / "__init__.py").write_text("__version__ = '0.3.0'\nimport torchvision\n")
    described = tmp_path / "torch_fidelity-0.3.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: torch-fidelity\nVersion: 0.3.0\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", "from vidgen.cli import main; main()", "evaluate", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "pip uninstall torch-fidelity" in done.stderr
