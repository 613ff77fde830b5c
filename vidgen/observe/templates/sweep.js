
// A sweep's trials: point at one anywhere, and all of it stands out.
const trials = [...document.querySelectorAll("[data-trial]")];
const follow = document.querySelector(".follow");
const heads = [...document.querySelectorAll("#trials thead th")].map((cell) => cell.textContent);
function followTrial(name, event) {
  document.body.classList.toggle("following", name !== null);
  for (const each of trials) each.classList.toggle("followed", each.dataset.trial === name);
  const row = name === null ? null : document.querySelector(`#trials tr[data-trial="${name}"]`);
  follow.hidden = row === null || !event || event.target.closest("tr") !== null;
  if (follow.hidden) return;
  follow.replaceChildren(...[...row.children].flatMap((cell, index) => {
    const line = document.createElement("div");
    line.textContent = index === 0 ? cell.textContent : `${heads[index]}: ${cell.textContent}`;
    return cell.textContent === "" ? [] : [line];
  }));
  const box = follow.getBoundingClientRect();
  follow.style.left = `${Math.min(event.clientX + 14, innerWidth - box.width - 8)}px`;
  follow.style.top = `${Math.max(8, Math.min(event.clientY + 14, innerHeight - box.height - 8))}px`;
}
// The line nearest to the pointer, within reach: lines are too thin to hit.
function nearestTrial(event) {
  for (const reach of [0, 3, 6, 10]) {
    for (let angle = 0; angle < 2 * Math.PI; angle += Math.PI / 4) {
      const found = document.elementFromPoint(event.clientX + reach * Math.cos(angle), event.clientY + reach * Math.sin(angle));
      if (found && found.matches("path.trial")) return found.dataset.trial;
    }
  }
  return null;
}
for (const plot of document.querySelectorAll(".parallel, .area.tall")) {
  plot.addEventListener("pointermove", (event) => followTrial(nearestTrial(event), event));
  plot.addEventListener("pointerleave", () => followTrial(null));
}
for (const row of document.querySelectorAll("#trials tbody tr")) {
  for (const name of ["pointerenter", "focus"]) row.addEventListener(name, () => followTrial(row.dataset.trial));
  for (const name of ["pointerleave", "blur"]) row.addEventListener(name, () => followTrial(null));
}
