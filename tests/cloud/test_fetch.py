"""fetch: committed things only, whole, going on after a break."""

from __future__ import annotations

from pathlib import Path

from cloud_setup import Cli
from fake_operator import FakeOperator

from vidgen.storage.open import open_store


def test_fetch_gets_committed_things_only_and_goes_on_after_a_break(
    cli: Cli, running: FakeOperator, store_url: str, tmp_path: Path
) -> None:
    store, big = open_store(f"{store_url}/runs/run-a"), bytes(range(256)) * 200_000
    store.write("config.yaml", b"name: a\n")
    store.write("metrics.jsonl", b"")
    store.write("checkpoints/step_00000500/data.bin", big)
    store.write("checkpoints/step_00000500/COMMITTED", b"{}")
    store.write("checkpoints/step_00001000/data.bin", b"half written")
    store.write("samples/step_00000500.mp4", b"video")

    out = tmp_path / "got"
    assert cli("fetch", "run-a", "--out", str(out)).code == 0
    assert (out / "samples/step_00000500.mp4").read_bytes() == b"video"

    etag = "".join(c for c in store.stat("checkpoints/step_00000500/data.bin").etag if c.isalnum())
    part = out / f"checkpoints/step_00000500/data.bin.{etag[:16]}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(big[:1_000_001])
    result = cli("fetch", "run-a", "checkpoint", "--out", str(out))
    assert result.code == 0
    assert (out / "checkpoints/step_00000500/data.bin").read_bytes() == big
    assert not part.exists()
    assert not (out / "checkpoints/step_00001000").exists()
    missing = cli("fetch", "run-a", "report", "--out", str(out))
    assert missing.code == 1
    assert "has no report yet" in missing.err


def test_fetch_of_a_sweep_gets_its_page_and_best_config(
    cli: Cli, running: FakeOperator, store_url: str, tmp_path: Path
) -> None:
    store = open_store(f"{store_url}/runs/run-a")
    left = ("sweep.yaml", "sweep.html", "best.yaml", "results.parquet", "trials/t000/config.yaml")
    for name in left:
        store.write(name, name.encode())
    out = tmp_path / "got"
    assert cli("fetch", "run-a", "--out", str(out)).code == 0
    found = {path.name for path in out.rglob("*") if path.is_file()}
    assert found == {"sweep.html", "best.yaml", "results.parquet"}
