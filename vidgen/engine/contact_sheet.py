"""A contact sheet: frames over time, one row per video, with what was asked for above each row."""

from __future__ import annotations

import io
import textwrap

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vidgen.data.picture import Frames

MAX_COLUMNS = 8
SIDE = 96  # pixels of the longer side that a frame is enlarged to, by a whole factor
GAP, MARGIN, FONT = 4, 12, 14
PAPER, INK = (255, 255, 255), (30, 32, 38)


def contact_sheet(videos: list[Frames], titles: list[str]) -> bytes:
    """Videos (T, H, W, 3) of one size and a title each, as a PNG file."""
    t, height, width = videos[0].shape[:3]
    chosen = np.linspace(0, t - 1, min(t, MAX_COLUMNS)).round().astype(int)
    times = max(1, SIDE // max(height, width))
    cell_h, cell_w = height * times, width * times
    row_w = len(chosen) * (cell_w + GAP) - GAP
    font = ImageFont.load_default(FONT)
    letters = max(8, int(row_w / font.getlength("n")))
    texts = [textwrap.wrap(title, letters) for title in titles]
    line_h = FONT + 5
    heights = [len(lines) * line_h + cell_h + MARGIN for lines in texts]
    sheet = Image.new("RGB", (row_w + 2 * MARGIN, sum(heights) + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = MARGIN
    for video, lines, row_h in zip(videos, texts, heights, strict=True):
        for number, line in enumerate(lines):
            draw.text((MARGIN, top + number * line_h), line, INK, font=font)
        for column, frame in enumerate(video[chosen]):
            picture = Image.fromarray(frame).resize((cell_w, cell_h), Image.Resampling.NEAREST)
            sheet.paste(picture, (MARGIN + column * (cell_w + GAP), top + len(lines) * line_h))
        top += row_h
    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=True)
    return file.getvalue()
