"use strict";
// A study in one page. Nothing is loaded; answers leave the page by download, or by POST where asked.
const study = JSON.parse(document.getElementById("study").textContent);
const byId = (id) => document.getElementById(id);
const make = (tag, props = {}, ...inside) => {
  const element = Object.assign(document.createElement(tag), props);
  element.append(...inside);
  return element;
};
const STORE = `vidgen-study-${study.study}`;

// ---- what is known about this rater ------------------------------------------------------------

const random = () => crypto.getRandomValues(new Uint32Array(1))[0] / 2 ** 32;

function shuffled(items) {
  const out = [...items];
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [out[i], out[j]] = [out[j], out[i]];
  }
  return out;
}

// Pairs first, marks after them: comparing teaches the eye what to look for, for all raters alike.
// A repeated pair comes after its first showing, with its sides exchanged.
function plan() {
  const pairs = shuffled(study.trials.filter((t) => t.kind === "pair" && !t.repeats));
  const order = [...pairs];
  for (const trial of study.trials.filter((t) => t.repeats)) {
    const first = order.findIndex((t) => t.id === trial.repeats);
    order.splice(first + 1 + Math.ceil(random() * (order.length - first - 1)), 0, trial);
  }
  order.push(...shuffled(study.trials.filter((t) => t.kind === "single")));
  const flipped = {};
  for (const trial of order) {
    flipped[trial.id] = trial.repeats ? !flipped[trial.repeats] : random() < 0.5;
  }
  return { order: order.map((t) => t.id), flipped };
}

function fresh() {
  const digits = crypto.getRandomValues(new Uint8Array(6));
  const rater = [...digits].map((b) => b.toString(16).padStart(2, "0")).join("");
  return { rater, name: "", started: null, finished: null, at: -1, answers: {}, ...plan() };
}

let keeps = true; // whether this browser lets a page keep something
function recall() {
  try {
    return JSON.parse(localStorage.getItem(STORE));
  } catch {
    keeps = false;
    return null;
  }
}
function keep() {
  try {
    localStorage.setItem(STORE, JSON.stringify(state));
  } catch {
    keeps = false;
  }
}

const trials = Object.fromEntries(study.trials.map((t) => [t.id, t]));
const state = recall() || fresh();
keep();

// ---- the three screens -------------------------------------------------------------------------

let shownSince = 0;
let replays = 0;

function show() {
  const total = state.order.length;
  byId("start").hidden = state.at !== -1;
  byId("trial").hidden = state.at < 0 || state.at >= total;
  byId("end").hidden = state.at < total;
  byId("progress").value = Math.max(0, Math.min(state.at, total)) / total;
  byId("place").textContent = state.at < 0 || state.at >= total ? "" : `${state.at + 1} of ${total}`;
  byId("videos").replaceChildren();
  if (state.at === -1) showStart();
  else if (state.at >= total) showEnd();
  else showTrial(trials[state.order[state.at]]);
  scrollTo(0, 0);
}

function showStart() {
  const minutes = Math.max(1, Math.round((state.order.length * 16) / 60));
  byId("title").textContent = study.title;
  byId("count").textContent = `${state.order.length} screens, about ${minutes} minutes.`;
  byId("name").value = state.name;
  byId("kept").hidden = !keeps;
}

function showTrial(trial) {
  shownSince = performance.now();
  replays = 0;
  const asked = byId("asked");
  asked.replaceChildren();
  if (trial.caption) asked.append("Asked for: ", make("b", { textContent: trial.caption }));
  const box = byId("videos");
  box.className = trial.kind === "pair" ? "videos" : "videos one";
  if (trial.kind === "pair") {
    for (const side of ["left", "right"]) box.append(figure(trial, at(trial, side), side));
  } else {
    box.append(figure(trial, trial.video, ""));
  }
  playTogether();
  const instruction = byId("instruction");
  instruction.hidden = !trial.say;
  const told = trial.say && (state.flipped[trial.id] ? "right" : "left");
  instruction.textContent = told ? `To show that you are reading: answer “${told}” to all three questions here.` : "";
  const form = byId("questions");
  form.replaceChildren(...study.questions.map((q) => question(trial, q)));
  focusQuestion();
  ready();
}

// A pair's first video stands left, unless this rater sees the pair flipped.
function at(trial, side) {
  return (side === "left") !== state.flipped[trial.id] ? "a" : "b";
}

function figure(trial, which, side) {
  const id = trial.kind === "pair" ? trial[which] : which;
  const video = make("video", {
    src: study.videos[id], muted: true, loop: true, playsInline: true, preload: "auto",
    className: trial.spoil && trial.spoil === which ? "spoilt" : "",
  });
  video.setAttribute("aria-label", side ? `${side} video` : "video");
  video.disablePictureInPicture = true;
  const screen = make("div", { className: "screen" }, video);
  const label = side ? [make("figcaption", { textContent: side === "left" ? "Left" : "Right" })] : [];
  return make("figure", {}, screen, ...label);
}

function playTogether() {
  for (const video of byId("videos").querySelectorAll("video")) {
    video.currentTime = 0;
    // A browser that refuses to play by itself still plays on the button.
    video.play().catch(() => {});
  }
}

const PAIR = [["left", "Left"], ["same", "About the same"], ["right", "Right"]];
const MARKS = ["1", "2", "3", "4", "5"].map((mark) => [mark, mark]);

function question(trial, q) {
  const pair = trial.kind === "pair";
  const given = (state.answers[trial.id] || { choices: {} }).choices[q.id];
  const choices = make("div", { className: "choices" });
  for (const [value, text] of pair ? PAIR : MARKS) {
    const radio = make("input", { type: "radio", name: q.id, value, checked: given === value });
    choices.append(make("label", {}, radio, text));
  }
  const words = pair ? q.pair : q.single;
  const field = make("fieldset", { id: `q-${q.id}` }, make("legend", { textContent: words }), choices);
  if (!pair) {
    const ends = [make("span", { textContent: q.low }), make("span", { textContent: q.high })];
    field.append(make("div", { className: "ends" }, ...ends));
  }
  return field;
}

function given() {
  return Object.fromEntries(new FormData(byId("questions")).entries());
}

function ready() {
  byId("next").disabled = Object.keys(given()).length < study.questions.length;
}

function focusQuestion() {
  const open = study.questions.find((q) => !given()[q.id]);
  for (const q of study.questions) byId(`q-${q.id}`).classList.toggle("now", q === open);
}

function note() {
  const trial = trials[state.order[state.at]];
  const before = state.answers[trial.id] || { ms: 0, replays: 0 };
  const answer = {
    trial: trial.id,
    choices: given(),
    ms: Math.round(before.ms + performance.now() - shownSince),
    replays: before.replays + replays,
  };
  if (trial.kind === "pair") {
    answer.left = trial[at(trial, "left")];
    answer.right = trial[at(trial, "right")];
    answer.flipped = state.flipped[trial.id];
  } else {
    answer.video = trial.video;
  }
  shownSince = performance.now();
  replays = 0;
  state.answers[trial.id] = answer;
  keep();
}

function go(to) {
  state.at = to;
  if (to >= state.order.length && !state.finished) state.finished = new Date().toISOString();
  keep();
  show();
}

// ---- the end -----------------------------------------------------------------------------------

function answers() {
  return {
    format: 1, kind: "vidgen study answers", study: study.study,
    rater: state.rater, name: state.name, started: state.started, finished: state.finished,
    answers: state.order.filter((id) => state.answers[id]).map((id) => state.answers[id]),
  };
}

function showEnd() {
  byId("how").textContent = study.post
    ? "Your answers were sent to the people who run this study. You can also keep a copy."
    : "Download your answers and send the file to the people who run this study.";
  if (study.post) send();
}

async function send() {
  const said = byId("sent");
  said.hidden = false;
  said.className = "note";
  said.textContent = "Sending…";
  let problem = "";
  try {
    const body = JSON.stringify(answers());
    const reply = await fetch(study.post, { method: "POST", headers: { "Content-Type": "application/json" }, body });
    if (!reply.ok) problem = `the server answered ${reply.status}`;
  } catch {
    problem = "the server cannot be reached";
  }
  said.textContent = problem ? `Not sent: ${problem}. Download the file instead, or try again.` : "Sent.";
  said.className = problem ? "note" : "note good";
  byId("resend").hidden = !problem;
}

function download() {
  const blob = new Blob([JSON.stringify(answers(), null, 1)], { type: "application/json" });
  const url = URL.createObjectURL(blob);
  make("a", { href: url, download: `answers-${study.study}-${state.rater}.json` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

// ---- hands -------------------------------------------------------------------------------------

byId("begin").addEventListener("click", () => {
  state.name = byId("name").value.trim();
  state.started ||= new Date().toISOString();
  go(0);
});
byId("questions").addEventListener("change", () => { note(); focusQuestion(); ready(); });
byId("questions").addEventListener("submit", (event) => event.preventDefault());
byId("next").addEventListener("click", () => { note(); go(state.at + 1); });
byId("back").addEventListener("click", () => { note(); go(state.at - 1); });
byId("again").addEventListener("click", () => { replays += 1; playTogether(); });
byId("review").addEventListener("click", () => go(0));
byId("download").addEventListener("click", download);
byId("resend").addEventListener("click", send);

const ARROWS = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "same" };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.id === "name") return;
  if (state.at === -1 || state.at >= state.order.length) return; // buttons there do what keys do
  const onButton = event.target.tagName === "BUTTON";
  const onRadio = event.target.matches("input:focus-visible");
  const trial = trials[state.order[state.at]];
  const choice = trial.kind === "pair" ? ARROWS[event.key] : /^[1-5]$/.test(event.key) && event.key;
  if (choice) {
    // The question reached with Tab, else the one still open, else the last, to put a slip right.
    const tabbed = onRadio && study.questions.find((q) => q.id === event.target.name);
    const open = tabbed || study.questions.find((q) => !given()[q.id]) || study.questions.at(-1);
    const radio = byId(`q-${open.id}`).querySelector(`input[value="${choice}"]`);
    radio.checked = true;
    radio.dispatchEvent(new Event("change", { bubbles: true }));
  } else if (event.key === " " && !onButton && !onRadio) {
    byId("again").click();
  } else if (event.key === "Enter" && !onButton) {
    if (!byId("next").disabled) byId("next").click();
  } else if (event.key === "Backspace") {
    byId("back").click();
  } else {
    return;
  }
  event.preventDefault();
});

show();
