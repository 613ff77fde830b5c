"""Makes the pictures of the README from a run: what it generated, moving, and its report page.

usage: docs/pictures.py GENERATED REPORT     what `vidgen generate` wrote for 8 captions, and a
                                             run's report.html; needs chromium
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from vidgen.data.video import decode

IMAGES = Path(__file__).resolve().parent / "images"
COLUMNS, SIDE, GAP, TEXT = 4, 128, 12, 46  # pixels


def main() -> None:
    generated, report = (Path(each).resolve() for each in sys.argv[1:])
    frames = moving(generated)
    fps = json.loads((generated / "generated.json").read_text())["fps"]
    frames[0].save(
        IMAGES / "shapes.gif",
        save_all=True,
        append_images=frames[1:],
        duration=round(1000 / fps),
        loop=0,
        optimize=True,
    )
    page(report).save(IMAGES / "report.png", optimize=True)


def moving(generated: Path) -> list[Image.Image]:
    """Every frame of all videos side by side, each above its caption."""
    told = json.loads((generated / "generated.json").read_text())
    clips = [decode(generated / each["file"], fps=told["fps"]) for each in told["videos"]]
    font = ImageFont.load_default(size=11)
    rows = -(-len(clips) // COLUMNS)
    size = (GAP + COLUMNS * (SIDE + GAP), GAP + rows * (SIDE + TEXT))
    frames = []
    for t in range(told["frames"]):
        frame = Image.new("RGB", size, "white")
        draw = ImageDraw.Draw(frame)
        for n, (clip, each) in enumerate(zip(clips, told["videos"], strict=True)):
            x = GAP + n % COLUMNS * (SIDE + GAP)
            y = GAP + n // COLUMNS * (SIDE + TEXT)
            frame.paste(
                Image.fromarray(clip[t]).resize((SIDE, SIDE), Image.Resampling.NEAREST), (x, y)
            )
            text = "\n".join(textwrap.wrap(each["caption"], 24))
            draw.multiline_text((x, y + SIDE + 3), text, "#444", font=font, spacing=1)
        frames.append(frame.quantize(64))
    return frames


def page(report: Path) -> Image.Image:
    """The top of the report as a browser shows it."""
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        flags += ["--virtual-time-budget=5000", "--window-size=1100,1500", f"--screenshot={shot}"]
        command = ["chromium", *flags, f"--user-data-dir={folder}/profile", report.as_uri()]
        subprocess.run(command, check=True, capture_output=True)
        return Image.open(shot).convert("RGB").quantize(128)


if __name__ == "__main__":
    main()
