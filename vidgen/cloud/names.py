"""Names, labels and annotations that tie a run's objects together."""

from __future__ import annotations

import re
from datetime import datetime

from vidgen.errors import ConfigError

RUN_LABEL = "vidgen.dev/run"  # on the RayJob and, since KubeRay copies none, on both pod templates
ROLE_LABEL = "vidgen.dev/role"
POOL_LABEL = "vidgen.dev/pool"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
MANAGED = {"app.kubernetes.io/name": "vidgen", "app.kubernetes.io/managed-by": "vidgen-cloud"}
SELECTOR = "app.kubernetes.io/managed-by=vidgen-cloud"

SPEC_HASH = "vidgen.dev/spec-sha256"  # of the manifest: tells 'again' from 'another run'
CANCELLED = "vidgen.dev/cancelled"  # when and how: a paused job that nobody means to go on
ANNOTATION = "vidgen.dev/"

KUBERAY_NAME = 47  # longest RayJob name KubeRay accepts
LONGEST = KUBERAY_NAME - len("-r99")  # of a run: a resumed run's RayJob is called NAME-r2
_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def check_name(name: str) -> str:
    """A run's name as KubeRay wants it. Raises ConfigError."""
    if len(name) > LONGEST:
        raise ConfigError(
            f"run name '{name}' has {len(name)} characters", expected=f"at most {LONGEST}"
        )
    if not _DNS_1035.fullmatch(name) or re.search(r"-r\d+$", name):
        raise ConfigError(
            f"'{name}' is no run name",
            expected="lower-case letters, digits and '-', starting with a letter, ending with a "
            "letter or digit, and not with -r and a number (resumed runs are called so)",
        )
    return name


def new_name(base: str, now: datetime) -> str:
    """A name for a run that was given none: shapes-flow-1121-004512."""
    clean = re.sub(r"[^a-z0-9]+", "-", base.lower()).strip("-")
    clean = clean if clean[:1].isalpha() else f"run-{clean}"
    stamp = now.strftime("-%m%d-%H%M%S")
    return check_name(clean[: LONGEST - len(stamp)].rstrip("-") + stamp)


def rayjob_name(run: str, attempt: int) -> str:
    """Name of the RayJob of a run's n-th submission: NAME, NAME-r2, NAME-r3."""
    return run if attempt == 1 else f"{run}-r{attempt}"


def check_selector(name: str) -> str:
    """A name that was typed, safe inside a label selector. Raises ConfigError."""
    if not re.fullmatch(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", name):
        raise ConfigError(f"'{name}' is no run name", expected="letters, digits and '-'")
    return name
