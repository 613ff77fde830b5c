"""The `vidgen` command, for the scripts beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def vidgen(*argv: str, keep: bool = False) -> str:
    """Run the `vidgen` beside this interpreter; its output if it is to be kept."""
    program = str(Path(sys.executable).with_name("vidgen"))
    print("$ vidgen", *argv, file=sys.stderr, flush=True)
    done = subprocess.run(
        [program, *argv], check=False, text=True, stdout=subprocess.PIPE if keep else None
    )
    if done.returncode:
        sys.exit(f"vidgen {argv[0]} ended with {done.returncode}")
    return done.stdout or ""
