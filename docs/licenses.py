"""Writes licenses.md: every dependency, what it is for, its licence and size, from pyproject.toml
and from what is installed.

usage: docs/licenses.py [--check]     --check: only say whether a package or a reason is missing;
                                      sizes and versions may differ
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(__file__).with_suffix(".md")
HEAD = """\
# Dependencies and their licences

Made by `docs/licenses.py` from `pyproject.toml` and the metadata of the installed packages. vidgen
itself is Apache-2.0 and contains no code of theirs. Sizes are of the package alone, unpacked, with
the CPU build of PyTorch. Metadata does not tell when a package was last released; `constraints.txt`
has the versions that are tested.

Metadata speaks of a package's own code. The wheels of `av` and `opencv-python-headless` also carry
FFmpeg's libraries, and that of `av` libx264 and libx265, which are under the GPL, version 2 or
later: who hands on an image with them hands on GPL software. That is why vidgen publishes no image:
`make image` builds it where it is used. Who must hand one on without them builds `av` against an
FFmpeg of their own (`pip install --no-binary av av`). Reading clips needs neither library; packs,
synthetic clips and sample videos are encoded with libx264. NVIDIA's libraries, which PyPI's CUDA
build of PyTorch brings, are under NVIDIA's own terms.
"""
GROUPS = {
    "dependencies": "The laptop: `pip install vidgen`",
    "train": "The engine: `vidgen[train]`",
    "tensorboard": "Trackers: `vidgen[tensorboard]`, `[mlflow]`, `[wandb]`",
    "mlflow": "",
    "wandb": "",
    "dev": "Tests and tools: `vidgen[dev]`",
    "docs": "The site of the guides: `vidgen[docs]`",
    "bench-data": "What readers are compared with: `vidgen[bench-data]`",
}
# Names in metadata that say the same.
SPDX = {
    "Apache 2.0": "Apache-2.0", "Apache License 2.0": "Apache-2.0", "Apache": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0", "Apache License Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0", "Apache License v2.0": "Apache-2.0",
    "MIT License": "MIT", "The MIT License (MIT)": "MIT", "HPND": "MIT-CMU",
    "BSD License": "BSD", "BSD-2": "BSD-2-Clause", "3-Clause BSD License": "BSD-3-Clause",
    "BSD 3-Clause": "BSD-3-Clause", "new BSD": "BSD-3-Clause",
    "Dual License": "Apache-2.0 OR BSD-3-Clause", "ISC License (ISCL)": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}  # fmt: skip


def main() -> None:
    before = TARGET.read_text() if TARGET.exists() else ""
    text = HEAD + "".join(sections(rows_of(before)))
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(text)
    elif missing := sorted(facts(text) ^ facts(before)):
        sys.exit(f"{TARGET.name} is out of date ({missing[0]}): run {Path(__file__).name}")


def sections(before: dict[str, str]) -> Iterator[str]:
    for group, title in GROUPS.items():
        if title:
            yield f"\n## {title}\n\n| package | for | licence | MB |\n|---|---|---|---|\n"
        for name, why in declared(group).items():
            found = installed(name)
            if found is None and name in before:  # an extra that is not installed here
                yield f"{before[name]}\n"
            else:
                yield f"| {name} | {why} | {licence(found)} | {megabytes(found)} |\n"
    yield "\n## What the engine brings with it\n\n| package | licence | MB |\n|---|---|---|\n"
    ours = {canonicalize_name(n) for g in ("dependencies", "train") for n in declared(g)}
    for name in sorted(closure(ours) - ours):
        yield f"| {name} | {licence(installed(name))} | {megabytes(installed(name))} |\n"


def declared(group: str) -> dict[str, str]:
    """Package -> why, in the order of pyproject.toml, whose remarks say it."""
    text = (ROOT / "pyproject.toml").read_text()
    begin = re.search(rf"^{re.escape(group)} = \[", text, re.M)
    assert begin, f"pyproject.toml has no {group}"
    found: dict[str, str] = {}
    for line in text[begin.end() :].splitlines():
        if entry := re.match(r'\s*"([^"]+)"[,\]]*\s*(?:# (.*))?', line):
            name = Requirement(entry.group(1)).name
            found[name] = (entry.group(2) or _ALSO.get(name, "")).replace("|", "\\|")
        if line.rstrip().partition(" #")[0].rstrip().endswith("]") and '["' not in line[1:-1]:
            break
    return found


_ALSO = {
    "tensorboard": "`observe.tensorboard`",
    "mlflow-skinny": "`observe.mlflow`, the client alone",
    "wandb": "`observe.wandb`",
} | dict.fromkeys(
    ("xxhash", "zstd", "catalogue", "Brotli", "python-snappy"), "imported by MosaicML Streaming"
)


def installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def licence(found: Distribution | None) -> str:
    """As SPDX names it, where the metadata is clear."""
    if found is None:
        return "not installed here"
    told = found.metadata
    if expression := told.get("License-Expression"):
        return str(expression)
    classes = [
        each.rpartition(" :: ")[2]
        for each in told.get_all("Classifier") or []
        if each.startswith("License :: ") and each != "License :: OSI Approved"
    ]
    text = " ".join(str(told.get("License") or "").split())
    named = [text] if text and len(text) < 40 else classes or [text[:60] or "not told"]
    return " AND ".join(dict.fromkeys(SPDX.get(each, each) for each in named))


def megabytes(found: Distribution | None) -> str:
    """Of its files, unpacked."""
    if found is None:
        return ""
    paths = (Path(str(found.locate_file(file))) for file in found.files or ())
    return f"{sum(path.stat().st_size for path in paths if path.is_file()) / 1e6:.1f}"


def closure(names: set[str]) -> set[str]:
    """Those and everything that they need here."""
    wanted = [(name, {""}) for name in names] + [("ray", {"default", "train", "tune"})]
    seen: set[str] = set()
    while wanted:
        name, extras = wanted.pop()
        found = installed(name)
        if found is None or (name in seen and extras == {""}):
            continue
        seen.add(name)
        for line in found.requires or ():
            needed = Requirement(line)
            if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in extras):
                other = canonicalize_name(needed.name)
                if other not in seen or needed.extras:
                    wanted.append((other, set(needed.extras) or {""}))
    return seen


def rows_of(text: str) -> dict[str, str]:
    """Package -> its row."""
    rows = re.findall(r"^(\| ([\w.-]+) \|.*)$", text, re.M)
    return {name: row for row, name in rows if name not in ("package", "---")}


def facts(text: str) -> set[str]:
    """Declared packages with their reasons, which --check compares."""
    declared_part = text.partition("## What the engine brings")[0]
    return {" | ".join(row.split(" | ")[:2]) for row in rows_of(declared_part).values()}


if __name__ == "__main__":
    main()
