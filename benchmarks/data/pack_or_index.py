"""Training clips of packs against clips of their originals: clips per second and bytes kept.

    python benchmarks/data/pack_or_index.py [--footage FOLDER] [--clips N]

The same 60-second videos of 1280x720 with a key frame every 250 frames, prepared both ways at
128x128 and 15 frames per second; clips are 16 frames. Both are read through the loader by one
process, turn about, without its memory cache. The first run makes the videos.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--footage", type=Path, help="folder of real clips; default: made noise")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir(), "vidgen-pack"))
    parser.add_argument("--clips", type=int, default=64, help="per turn")
    parser.add_argument("--turns", type=int, default=5)
    asked = parser.parse_args()

    from videos import encode_segment

    from vidgen.config.prepare import PrepareOptions
    from vidgen.config.run import RunConfig
    from vidgen.data.dataset import open_dataset
    from vidgen.data.loader import batches
    from vidgen.data.prepare import prepare

    raw = asked.work / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    encode_segment(raw / "0.mp4", 250, asked.footage)
    for number in range(1, 3):
        if not (raw / f"{number}.mp4").exists():
            os.link(raw / "0.mp4", raw / f"{number}.mp4")
    sets = {}
    for output in ("index", "pack"):
        options = PrepareOptions(
            output=output, width=128, height=128, fps=15, clip_seconds=4, duplicates="keep",
            shots=False, min_moving=0, max_frozen=1, max_blur=1, max_noise=1, min_brightness=0,
        )  # fmt: skip
        prepare(str(raw), str(asked.work / output), options)
        sets[output] = open_dataset(str(asked.work / output))
    rates: dict[str, list[float]] = {output: [] for output in sets}
    for turn in range(asked.turns):
        for output, dataset in sets.items():
            config = RunConfig.model_validate(
                {
                    "name": "bench",
                    "seed": turn,
                    "data": {
                        "url": str(asked.work / output), "frames": 16, "height": 128,
                        "width": 128, "cache": False, "prefetch": 1,
                    },
                    "model": {"family": "flow"},
                    "train": {"batch_size": 8},
                }
            )  # fmt: skip
            with batches(dataset, config) as stream:
                next(stream)
                next(stream)  # made before the clock starts; as one is after it stops
                began = time.perf_counter()
                for _ in range(asked.clips // 8):
                    next(stream)
                rates[output].append(asked.clips / (time.perf_counter() - began))
    originals = sum(path.stat().st_size for path in raw.glob("*.mp4"))
    for output in sets:
        files = [path for path in (asked.work / output).rglob("*") if path.is_file()]
        kept = sum(path.stat().st_size for path in files if "journal" not in path.parts)
        print(
            f"{output:6} {median(rates[output]):7.1f} clips/s, keeps {kept / 1e6:6.2f} MB beside "
            f"{originals / 1e6:.1f} MB of originals ({kept / originals:.1%})"
        )
    ratio = median(b / a for a, b in zip(rates["index"], rates["pack"], strict=True))
    print(f"pack reads {ratio:.1f}x the clips per second of index")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
