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
WIDTH, HEIGHT = 1280, 1080  # of the report, in pixels of the page


def main() -> None:
    generated, report = (Path(each).resolve() for each in sys.argv[1:])
    frames = moving(generated)
    fps = json.loads((generated / "generated.json").read_text())["fps"]
    options = {"append_images": frames[1:], "duration": round(1000 / fps), "loop": 0, "quality": 85}
    frames[0].save(IMAGES / "shapes.webp", save_all=True, **options)
    page(report).save(IMAGES / "report.webp", quality=80)


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
            picture = Image.fromarray(clip[t]).resize((SIDE, SIDE), Image.Resampling.NEAREST)
            frame.paste(picture, (x, y))
            text = "\n".join(textwrap.wrap(each["caption"], 24))
            draw.multiline_text((x, y + SIDE + 3), text, "#444", font=font, spacing=1)
        frames.append(frame)
    return frames


def page(report: Path) -> Image.Image:
    """Top and scores of the report beside each other, narrow enough to be read in a README."""
    frame = f'<iframe src="{{}}" width={WIDTH // 2} height={HEIGHT} frameborder=0></iframe>'
    with tempfile.TemporaryDirectory() as folder:
        both, shot = Path(folder) / "both.html", Path(folder) / "shot.png"
        both.write_text(
            "<body style='margin:0;white-space:nowrap;font-size:0'>"
            + frame.format(report.as_uri())
            + frame.format(f"{report.as_uri()}#scores")
        )
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        flags += ["--virtual-time-budget=5000", "--force-device-scale-factor=1.5"]
        flags += [f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={shot}"]
        command = ["chromium", *flags, f"--user-data-dir={folder}/profile", both.as_uri()]
        subprocess.run(command, check=True, capture_output=True)
        return Image.open(shot).convert("RGB")


if __name__ == "__main__":
    main()
