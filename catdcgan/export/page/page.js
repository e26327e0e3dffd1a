"use strict";
// What the controls do. Pictures come from a worker, which runs network.js.

const $ = id => document.getElementById(id);
const on = (id, event, act) => $(id).addEventListener(event, act);
const say = text => { $("status").textContent = text; };
const bytes = base64 => Uint8Array.from(atob(base64), letter => letter.charCodeAt(0));
const model = JSON.parse($("model").textContent);

function make(tag, properties, ...children) {
  const element = document.createElement(tag);
  element.append(...children);
  return Object.assign(element, properties);
}

function paint(canvas, pixels, side = model.size) {
  canvas.width = canvas.height = side;
  canvas.getContext("2d").putImageData(new ImageData(pixels, side), 0, 0);
  return canvas;
}

// A page opened from a file may not start a worker from another file, but may start one from a text of its own.
const worker = new Worker(URL.createObjectURL(new Blob([$("network").textContent], {type: "text/javascript"})));
worker.onerror = event => say(`This browser cannot compute the cats: ${event.message}`);
worker.postMessage({model, weights: $("weights").textContent, kernel: $("kernel").textContent});
$("weights").remove(); // megabytes that only the worker needs

// One picture is computed at a time, the large cat first. A new wish for a place replaces an older one: nothing lags.
const ORDER = ["cat", "kept", "walk", "layers", "sheet"];
const wishes = new Map();
let working = null;

function wish(place, numbers, done) {
  wishes.set(place, {latent: restored(numbers), stages: place === "layers", done});
  work();
}

function work() {
  if (working || !wishes.size) return;
  const places = ORDER.flatMap(kind => [...wishes.keys()].filter(place => place.startsWith(kind)));
  const {latent, stages, done} = wishes.get(places[0]);
  wishes.delete(places[0]);
  working = done;
  worker.postMessage({latent, stages});
}

worker.onmessage = ({data}) => { working(data); working = null; work(); };

// Latents have 16 bits a number, from -limit to limit, here and in links: so a link restores every pixel.
const known = new Int16Array(bytes($("latents").textContent).buffer);
const count = known.length / model.zDim;
const numbered = n => known.slice(n * model.zDim, (n + 1) * model.zDim);
const restored = numbers => Float32Array.from(numbers, v => v / 32767 * model.limit);
const rounded = latent => Int16Array.from(latent, v => Math.round(32767 * Math.max(-1, Math.min(1, v / model.limit))));
const uniform = () => 2 * Math.random() - 1;
const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(Math.PI * uniform());
const random = model.distribution === "normal" ? normal : uniform;

// Base64 with the two letters that an address may hold.
const toLink = numbers => "#" + btoa(String.fromCharCode(...new Uint8Array(numbers.buffer)))
  .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

function fromLink(link) { // null if it is no latent of this network
  const fits = /^#[\w-]+$/.test(link) && link.length - 1 === Math.ceil(8 * model.zDim / 3);
  return fits ? new Int16Array(bytes(link.slice(1).replaceAll("-", "+").replaceAll("_", "/")).buffer) : null;
}

// The cat. Variety shrinks its latent, as `sample --truncate` does. But one from a link or a walk is taken as it is at
// the variety of that moment, its `bound`, and shrinks or grows from there.
let cat, shown, resting, playing, typing; // shown: the numbers with the sliders applied

function show() {
  const latent = restored(cat.numbers).map(v => v * $("variety").value / cat.bound);
  for (const {slider: {value}, vector} of knobs) vector.forEach((v, i) => { latent[i] += value * v; });
  shown = rounded(latent);
  say("");
  $("cat").ariaBusy = "true";
  wish("cat", shown, ({pixels, engine, time}) => {
    paint($("cat"), pixels);
    $("cat").ariaBusy = String(wishes.has("cat"));
    $("speed").textContent = `A picture takes ${Math.round(time)} ms here, in ${engine}.`;
  });
  $("reset").disabled = knobs.every(({slider}) => +slider.value === 0);
  clearTimeout(resting); // browsers limit how often an address may change: wait until the hand rests
  resting = setTimeout(rest, 400);
}

function rest() {
  remember();
  const side = Math.ceil(Math.sqrt(model.zDim)), squares = new Uint8ClampedArray(4 * side * side);
  shown.forEach((v, i) => squares.fill(127.5 + v / 257, 4 * i, 4 * i + 3).fill(255, 4 * i + 3, 4 * i + 4));
  wish("layers", shown, ({stages, pixels}) => [{pixels: squares, side}, ...stages, {pixels}].forEach((tile, i) =>
    paint($("layers").children[i].firstChild, tile.pixels, tile.side)));
}

function load(numbers, bound = 1, walking = false) {
  pause();
  const number = [...Array(count).keys()].find(n => numbers.every((v, i) => v === known[n * model.zDim + i]));
  cat = {numbers, number, bound, walking};
  describe(number);
  show();
}
const loadAsItIs = (numbers, walking) => load(numbers, +$("variety").value, walking);

function describe(number) { // an unshaped cat, which may have no number
  $("number").value = number ?? "";
  $("cat").ariaLabel = number === undefined ? "A cat without a number" : `Cat number ${number}`;
  for (const button of $("sheet").children) button.ariaPressed = String(number === +button.value);
  for (const {slider} of knobs) set(slider, 0).ariaValueText = null;
  $("reset").disabled = true;
}

// A chosen cat gets an entry in the browser's history, and so does a walk. What sliders make of a cat replaces its entry.
const remember = (how = "replaceState") => history[how](null, "", toLink(shown));
function choose(numbers, bound) {
  remember();
  load(numbers, bound);
  if (toLink(shown) !== location.hash) remember("pushState"); // else it is the same cat
}

// Sliders: page.css colours their tracks.
function set(slider, value) {
  const place = v => `calc(7px + (100% - 14px) * ${(v - slider.min) / (slider.max - slider.min)})`; // the handle has 14px
  slider.value = value;
  slider.style.setProperty("--zero", slider.min < 0 ? place(0) : "0%");
  slider.style.setProperty("--at", place(slider.value));
  return slider;
}

const knobs = model.knobs.map(({label, less, more, low, high, vector}) => {
  const slider = make("input", {type: "range", min: low, max: high, step: .05, ariaLabel: label, title: "Double-click to reset"});
  const turn = value => {
    halt();
    set(slider, value).ariaValueText = `${Math.abs(value)} towards ${value < 0 ? less : more}`;
    show();
  };
  Object.assign(slider, {oninput: () => turn(slider.value), ondblclick: () => turn(0)});
  const texts = [make("span", {}, less), make("b", {}, label), make("span", {}, more)];
  $("knobs").append(make("div", {className: "knob"}, ...texts, slider));
  return {slider, vector};
});

on("reset", "click", () => load(cat.numbers, cat.bound));
on("variety", "change", () => showSheet(first));
on("variety", "input", () => { halt(); set($("variety"), $("variety").value); show(); });

// The walk between two kept cats, there and back. While it plays, pictures at STEPS places are computed, the coarse
// ones first; what lies between those that are ready is a blend of two. So it is smooth on a slow phone, too.
const STEPS = 32, SECONDS = 4; // one way
const kept = {}, frames = new Map();
const between = t => kept.a.map((v, i) => Math.round(v + t * (kept.b[i] - v)));
const keep = (end, numbers) => wish(`kept ${end}`, kept[end] = numbers, ({pixels}) => paint($(end), pixels));

function play() {
  frames.clear();
  frames.set(0, $("a")).set(STEPS, $("b"));
  for (let step = STEPS / 2; step >= 1; step /= 2) for (let i = step; i < STEPS; i += 2 * step)
    wish(`walk ${i}`, between(i / STEPS), ({pixels}) => frames.set(i, paint(make("canvas"), pixels)));
  $("play").textContent = "Pause";
  enterWalk();
  describe();
  const start = performance.now() - Math.acos(1 - 2 * $("walk").value) / Math.PI * 1000 * SECONDS;
  playing = requestAnimationFrame(function frame(now) {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches; // then a still picture a second
    const seconds = Math.max(0, now - start) / 1000, way = (still ? Math.floor(seconds) : seconds) / SECONDS;
    const t = (1 - Math.cos(Math.PI * way)) / 2; // slow at both ends
    set($("walk"), t);
    blend(t * STEPS);
    playing = requestAnimationFrame(frame);
  });
}

function blend(at) {
  const ready = [...frames.keys()], pen = $("cat").getContext("2d");
  const from = Math.max(...ready.filter(step => step <= at)), to = Math.min(...ready.filter(step => step >= at));
  pen.drawImage(frames.get(from), 0, 0);
  pen.globalAlpha = (at - from) / (to - from || 1);
  pen.drawImage(frames.get(to), 0, 0);
  pen.globalAlpha = 1;
}

function pause() {
  playing = cancelAnimationFrame(playing);
  for (const place of wishes.keys()) if (place.startsWith("walk")) wishes.delete(place);
  $("play").textContent = "Play";
}

function enterWalk() { // Back then brings the cat before, unless that is where the walk begins
  if (!cat.walking && toLink(shown) !== toLink(between($("walk").value))) { remember(); remember("pushState"); }
  cat.walking = true;
}
const goToWalk = () => { enterWalk(); loadAsItIs(between($("walk").value), true); };
const halt = () => { if (playing) goToWalk(); }; // where the walk is
on("play", "click", () => playing ? halt() : play());
on("walk", "input", () => { set($("walk"), $("walk").value); goToWalk(); });
for (const [end, place] of [["a", 0], ["b", 1]]) {
  on(`show-${end}`, "click", () => { set($("walk"), place); choose(kept[end], +$("variety").value); });
  on(`keep-${end}`, "click", () => { halt(); keep(end, shown); });
}

// The sheet of numbered cats
let first = 0; // its first number
function showSheet(number) {
  first = (number + count) % count;
  [...$("sheet").children].forEach((button, i) => {
    const number = (first + i) % count, numbers = numbered(number);
    Object.assign(button, {value: number, title: `Cat number ${number}`, onclick: () => choose(numbers)});
    button.ariaPressed = String(cat.number === number);
    const varied = numbers.map(v => Math.round(v * $("variety").value));
    wish(`sheet ${i}`, varied, ({pixels}) => paint(button.firstChild, pixels));
  });
}

for (let i = 0; i < 16; i++) $("sheet").append(make("button", {className: "picture"}, make("canvas")));
for (const [id, step] of [["back", -16], ["next", 16]]) on(id, "click", () => showSheet(first + step));

// Below the cat
function save(scale) {
  halt();
  wish("cat to save", shown, ({pixels}) => {
    const side = scale * model.size, canvas = make("canvas", {width: side, height: side}), pen = canvas.getContext("2d");
    pen.imageSmoothingQuality = "high";
    pen.drawImage(paint(make("canvas"), pixels), 0, 0, side, side);
    const download = `cat-${cat.number ?? "new"}-${side}.png`;
    canvas.toBlob(blob => make("a", {href: URL.createObjectURL(blob), download}).click());
  });
}
on("save", "click", () => save(1));
on("save4", "click", () => save(4));
on("new", "click", () => choose(rounded(Array.from({length: model.zDim}, random))));
on("copy", "click", () => { // not every browser, nor every frame, lets a page write there
  halt(); remember();
  const copied = navigator.clipboard?.writeText(location.href) ?? Promise.reject();
  copied.then(() => say("The link to this cat is copied."), () => say(`Copy this link: ${location.href}`));
});
on("number", "focus", () => { typing = false; }); // all digits of a number are one entry in the history
on("number", "input", ({target}) => {
  const number = Math.max(0, Math.min(count - 1, Math.floor(target.valueAsNumber)));
  if (isNaN(number)) target.value = "";
  else if (typing) load(numbered(number));
  else { typing = number !== cat.number; choose(numbered(number)); }
});

// The start: the cat of the link, or one that looks good
function openLink() {
  const numbers = fromLink(location.hash);
  if (numbers) loadAsItIs(numbers); else load(numbered(23));
  if (location.hash && !numbers) say("That link leads to no cat of this page.");
}

for (const [shape, weights] of model.stages)
  $("layers").append(make("li", {}, make("canvas"), make("b", {}, shape), make("span", {}, weights)));
for (const [end, number] of [["a", 23], ["b", 17]]) keep(end, numbered(number));
for (const [id, value] of [["walk", 0], ["variety", 1]]) set($(id), value);
addEventListener("popstate", openLink); // hashchange would miss Back from a walk that has not moved yet
addEventListener("paste", ({clipboardData}) => { // a link, or its end, which `catdcgan lookalike` prints
  const [link] = /#[\w-]+/.exec(clipboardData.getData("text")) ?? [""];
  if (fromLink(link)) location.hash = link; else if (link) say("What you pasted is no link to a cat of this page.");
});
openLink();
showSheet(0);
