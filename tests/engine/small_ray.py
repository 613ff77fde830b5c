"""A small Ray on this machine, whose workers find the tests' family."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import ray

TESTS = Path(__file__).parents[1]


@contextmanager
def ray_environment() -> Iterator[None]:
    """What has to be set before Ray starts."""
    roots = [str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "PYTHONPATH": os.pathsep.join(roots),
            "RAY_worker_niceness": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
            "RAY_AIR_NEW_OUTPUT": "0",
            "OMP_NUM_THREADS": "1",
            # What the S3 server of the tests expects; only some runs use it.
            "AWS_ACCESS_KEY_ID": "vidgen-test-key",
            "AWS_SECRET_ACCESS_KEY": "vidgen-test-secret",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():
            patch.setenv(name, value)
        yield


@contextmanager
def small_ray(cpus: int) -> Iterator[None]:
    """Ray with room for so many workers of one CPU."""
    with ray_environment():
        ray.init(
            address="local",
            num_cpus=cpus,
            include_dashboard=False,
            object_store_memory=100 * 1024**2,
            log_to_driver=False,
            logging_level="ERROR",
        )
        yield
        ray.shutdown()
