"""The report page: what is on it, and what a browser makes of it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from browser import Browser

from vidgen.engine.report import build_page, write_report
from vidgen.errors import NotFoundInStore
from vidgen.storage.run_folder import RunFolder


@pytest.fixture(scope="session")
def page(planted_run: RunFolder) -> Path:
    return Path(write_report(planted_run.url))


def test_page_says_what_the_run_folder_holds(planted_run: RunFolder) -> None:
    page = build_page(planted_run)
    facts = {fact.name: fact.value for fact in page.facts}
    assert facts["Steps"] == "1,200 of 1,200"
    assert facts["Parameters"] == "1,234,567"
    assert facts["Training time"] == "0:10:00"  # 1200 steps of half a second
    assert facts["Last validation loss"] == "0.7"
    assert "lowest at step 400" in page.warnings[0]
    assert [c.title for c in page.charts] == [
        "Loss",
        "Learning rate",
        "Throughput",
        "Gradient norm",
    ]
    assert [line.name for line in page.charts[0].lines] == ["train", "validation"]
    assert [s.title for s in page.samples] == ["real clips", "step 600", "step 1,200"]
    assert [[v.right for v in pair.verdicts] for pair in page.pairs] == [[True, False]] * 2
    first, second = page.score_groups
    assert first.kinds == ["generated"]
    assert second.kinds == ["generated", "ground truth"]
    assert [cell.value for cell in second.rows[0].cells if cell] == ["50.0 %", "100.0 %"]
    assert "judge 1" in second.protocol


def test_a_run_without_anything_yet_has_a_page(planted_run: RunFolder, tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path / "fresh"))
    folder.store.write("config.yaml", planted_run.store.read("config.yaml"))
    html = Path(write_report(folder.url)).read_text()
    assert "Not scored yet" in html
    assert "No metrics recorded yet" in html


def test_no_run_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(NotFoundInStore, match="not a run folder"):
        write_report(str(tmp_path / "nothing"))


def test_a_report_goes_into_a_bucket(planted_run: RunFolder, s3_bucket: str) -> None:
    away = RunFolder(f"{s3_bucket}/run")
    for stat in planted_run.store.list():
        if not stat.key.endswith(".html"):
            away.store.write(stat.key, planted_run.store.read(stat.key))
    assert write_report(away.url) == f"{s3_bucket}/run/report.html"
    assert b"Real beside generated" in away.store.read("report.html")


def test_videos_play(window: Browser, page: Path) -> None:
    window.resize(1280, 900)
    window.open(page)
    state = """
        const videos = [...document.querySelectorAll('video')];
        return videos.map((v) => [v.duration, v.videoWidth, v.error]);
    """
    deadline = time.monotonic() + 30
    while any(d is None for d, _, _ in window.run(state)) and time.monotonic() < deadline:
        time.sleep(0.1)
    found = window.run(state)
    assert len(found) == 7  # two pairs, the real clips, samples of two steps
    assert all(error is None and width == 48 for _, width, error in found)
    assert all(duration == pytest.approx(2.0, abs=0.1) for duration, _, _ in found)
    moved = window.run("""
        const video = document.querySelector('video'), paint = document.createElement('canvas');
        const look = () => {
            const pen = paint.getContext('2d', {willReadFrequently: true});
            pen.drawImage(video, 0, 0);
            return [video.currentTime, pen.getImageData(0, 16, 48, 1).data.join()];
        };
        const wait = (ms) => new Promise((done) => setTimeout(done, ms));
        const until = Date.now() + 20000;
        while (video.currentTime === 0 && Date.now() < until) await wait(50);
        const before = look(); await wait(700); const after = look();
        return [before[0], after[0], before[1] !== after[1]];
    """)
    assert moved[0] != moved[1], "the clock stands still"
    assert moved[2], "the picture does not change"


def test_page_asks_for_nothing_and_complains_about_nothing(window: Browser, page: Path) -> None:
    window.requests(), window.complaints()
    window.open(page)
    time.sleep(0.5)
    # chrome: is the browser's own first page, which on a busy machine is still loading.
    own = ("data:", "chrome:", page.as_uri())
    outside = [url for url in window.requests() if not url.startswith(own)]
    assert outside == []
    assert window.complaints() == []


def test_text_from_data_stays_text(window: Browser, page: Path) -> None:
    window.open(page)
    assert window.run("return typeof window.broken") == "undefined"
    assert window.run("return document.querySelectorAll('img').length") == 0
    shown = window.run("return document.querySelector('.lead').textContent")
    assert shown.startswith("<script>window.broken = 1</script>")


def test_curves_have_points_and_tell_their_values(window: Browser, page: Path) -> None:
    window.resize(1280, 900)
    window.open(page)
    counts = window.run(
        "return [...document.querySelectorAll('.chart')].map("
        "c => [...c.querySelectorAll('path.line')].map(p => p.getAttribute('d').split('L').length))"
    )
    assert counts == [[400, 2], [400], [400], [400]]  # 1200 steps, three to a point
    box = window.run("""
        const area = document.querySelector('.chart .area');
        area.scrollIntoView({block: 'center'});
        const box = area.getBoundingClientRect();
        return [box.left, box.top, box.width, box.height];
    """)
    window.point_at(round(box[0] + box[2] / 2), round(box[1] + box[3] / 2))
    tip = window.run("return document.querySelector('.chart .tip').innerText")
    step, train, validation = tip.split("\n")
    assert step == "step 599"
    assert float(train.split()[1]) == pytest.approx(2 * 2.718281828 ** (-599 / 300) + 0.1, rel=0.02)
    assert validation in ("validation 0.5 at 400", "validation 0.7 at 800")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1440])
def test_page_fits_and_is_readable(
    window: Browser, page: Path, width: int, scheme: str, tmp_path: Path
) -> None:
    window.resize(width, 800)
    window.prefer(prefers_color_scheme=scheme)
    window.open(page)
    wide = window.run("return document.documentElement.scrollWidth")
    assert wide <= width, "the page scrolls sideways"
    contrast = window.run("""
        const light = (text) => {
            const [r, g, b] = text.match(/[\\d.]+/g).map((v) => v / 255)
                .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const page = light(getComputedStyle(document.body).backgroundColor);
        const text = document.querySelectorAll('h1, .lead, .quiet, dt, .caption, .protocol');
        return [...text].map((e) => {
            const ink = light(getComputedStyle(e).color);
            return (Math.max(ink, page) + 0.05) / (Math.min(ink, page) + 0.05);
        });
    """)
    assert len(contrast) > 10
    assert min(contrast) >= 4.5  # WCAG AA
    window.screenshot(tmp_path / f"{scheme}-{width}.png")


def test_reduced_motion_gets_controls(window: Browser, page: Path) -> None:
    window.prefer(prefers_reduced_motion="reduce")
    window.open(page)
    states = window.run(
        "return [...document.querySelectorAll('video')].map(v => [v.paused, v.controls])"
    )
    window.prefer(prefers_reduced_motion="no-preference")
    assert states == [[True, True]] * 7
