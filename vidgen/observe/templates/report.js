"use strict";
// Videos: play while in view, so that a long page stays light; a reader who wants no motion gets controls.
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
const videos = [...document.querySelectorAll("video")];
if (still) {
  for (const video of videos) { video.autoplay = false; video.pause(); video.controls = true; }
} else if ("IntersectionObserver" in window) {
  const watch = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) target.play().catch(() => { target.controls = true; });
      else target.pause();
    }
  }, { rootMargin: "200px" });
  videos.forEach((video) => watch.observe(video));
}

// Curves: the values nearest to the pointer.
const format = (value) => Number(value.toPrecision(4)).toString();
for (const chart of document.querySelectorAll(".chart")) {
  const lines = JSON.parse(chart.dataset.lines);
  const names = JSON.parse(chart.dataset.names);
  const area = chart.querySelector(".area"), cursor = chart.querySelector(".cursor"), tip = chart.querySelector(".tip");
  const nearest = (line, at) => line.reduce((best, point) => Math.abs(point[0] - at) < Math.abs(best[0] - at) ? point : best);
  area.addEventListener("pointermove", (event) => {
    const box = area.getBoundingClientRect();
    const at = Math.min(100, Math.max(0, 100 * (event.clientX - box.left) / box.width));
    const points = lines.map((line) => nearest(line, at));
    const closest = points.reduce((best, point) => Math.abs(point[0] - at) < Math.abs(best[0] - at) ? point : best);
    tip.replaceChildren(`step ${Math.round(closest[2])}`);
    points.forEach((point, index) => {
      const value = document.createElement("b");
      value.textContent = format(point[3]);
      const there = point[0] === closest[0] ? "" : ` at ${Math.round(point[2])}`;
      tip.append(document.createElement("br"), `${names[index]} `, value, there);
    });
    cursor.hidden = tip.hidden = false;
    cursor.style.left = `${closest[0]}%`;
    const right = closest[0] > 55;
    tip.style.left = right ? "auto" : `calc(${closest[0]}% + 10px)`;
    tip.style.right = right ? `calc(${100 - closest[0]}% + 10px)` : "auto";
  });
  area.addEventListener("pointerleave", () => { cursor.hidden = tip.hidden = true; });
}
