"use strict";
// The page: what its controls do. Pictures come from a worker, which runs network.js.

const $ = id => document.getElementById(id);
const model = JSON.parse($("model").textContent);
const bytes = base64 => Uint8Array.from(atob(base64), letter => letter.charCodeAt(0));
const random = (a, b) => a + (b - a) * Math.random();
const still = matchMedia("(prefers-reduced-motion: reduce)");

// Pictures

// A page opened from a file may not load a worker's file, but may make one of text.
const worker = new Worker(URL.createObjectURL(new Blob([$("network").textContent], {type: "text/javascript"})));
worker.onerror = event => say(`This browser cannot compute the cats: ${event.message}`);
worker.postMessage({model, weights: $("weights").textContent, kernel: $("kernel").textContent});
$("weights").remove(); // 20 MB of text that only the worker needs

// One picture is computed at a time. A new wish for a place takes that of an older one, so that a slider never
// lags behind, and the places in view of the hand come first.
const ORDER = ["cat", "kept", "walk", "layers", "sheet"];
const wishes = new Map();
let working = null;

function wish(place, latent, done) {
  wishes.set(place, {latent, done, stages: place === "layers"});
  work();
}

function work() {
  if (working || !wishes.size) return;
  const places = [...wishes.keys()];
  const place = ORDER.map(kind => places.find(name => name.startsWith(kind))).find(name => name);
  working = wishes.get(place);
  wishes.delete(place);
  worker.postMessage({latent: working.latent, stages: working.stages});
}

worker.onmessage = ({data}) => {
  const {done} = working;
  working = null;
  work();
  done(data);
};

function paint(canvas, pixels, side = model.size) {
  canvas.width = canvas.height = side;
  canvas.getContext("2d").putImageData(new ImageData(pixels, side), 0, 0);
}

// Latents: 16 bits a number, from -limit to limit, on the page and in links, so that a link restores every pixel

const known = new Int16Array(bytes($("latents").textContent).buffer);
const count = known.length / model.zDim;
const rounded = latent => Int16Array.from(latent, v => Math.round(Math.max(-1, Math.min(1, v / model.limit)) * 32767));
const restored = numbers => Float32Array.from(numbers, v => v / 32767 * model.limit);
const numbered = n => restored(known.subarray(n * model.zDim, (n + 1) * model.zDim));

function randomLatent() {
  const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(random(0, 2 * Math.PI));
  return Float32Array.from({length: model.zDim}, model.distribution === "normal" ? normal : () => random(-1, 1));
}

// The share of a normal distribution below x (Abramowitz and Stegun 1964, 7.1.26).
function below(x) {
  const t = 1 / (1 + .3275911 * Math.abs(x) / Math.SQRT2);
  const tail = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - .284496736) * t + .254829592) * t;
  return x < 0 ? tail * Math.exp(-x * x / 2) / 2 : 1 - tail * Math.exp(-x * x / 2) / 2;
}

// As random_latents does it: uniform numbers shrink, and normal ones keep their quantile within the bounds.
function truncated(latent, bound) {
  if (bound >= $("variety").max) return latent;
  if (model.distribution === "uniform") return latent.map(v => v * bound);
  return latent.map(v => {
    const share = below(-bound) + (1 - 2 * below(-bound)) * below(v);
    let low = -bound, high = bound;
    for (let i = 0; i < 40; i++) if (below((low + high) / 2) < share) low = (low + high) / 2; else high = (low + high) / 2;
    return low;
  });
}

function toLink(numbers) {
  return btoa(String.fromCharCode(...new Uint8Array(numbers.buffer))).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

function fromLink(text) {
  if (!/^[\w-]+$/.test(text)) return null;
  const length = text.length % 4 === 1 ? 0 : Math.floor(text.length * 3 / 4);
  return length === 2 * model.zDim ? new Int16Array(bytes(text.replaceAll("-", "+").replaceAll("_", "/")).buffer) : null;
}

// The cat

// `base` is where the sliders start from. `bound` is 0 for a random latent, which variety truncates; others, from
// links and walks, are taken as they are at that bound of variety, and shrink or grow with it from there.
let cat = {base: null, number: null, bound: 0};
let shown = null; // its latent, rounded
let resting = 0;

function current() {
  const variety = +$("variety").value;
  const latent = cat.bound ? cat.base.map(v => v * variety / cat.bound) : truncated(cat.base, variety).slice();
  for (const {slider, vector} of knobs) {
    const amount = +slider.value;
    vector.forEach((v, i) => { latent[i] += amount * v; });
  }
  return rounded(latent);
}

function show() {
  shown = current();
  $("cat").setAttribute("aria-busy", "true");
  wish("cat", restored(shown), ({pixels, engine, time}) => {
    paint($("cat"), pixels);
    $("cat").setAttribute("aria-busy", String(wishes.has("cat")));
    fill("speed", `a picture takes ${Math.round(time)} ms here, in ${engine}`);
  });
  $("reset").disabled = knobs.every(({slider}) => +slider.value === 0);
  for (const button of $("sheet").children) button.setAttribute("aria-pressed", String(cat.number === +button.value));
  // Browsers limit how often a page may change its address, so wait until the hand rests.
  clearTimeout(resting);
  resting = setTimeout(rest, 400);
}

function rest() {
  clearTimeout(resting);
  location.replace(`#${toLink(shown)}`);
  const tiles = [...$("layers").querySelectorAll("canvas")], side = Math.ceil(Math.sqrt(model.zDim));
  const numbers = new Uint8ClampedArray(4 * side * side);
  shown.forEach((v, i) => numbers.fill(127.5 + v / 257, 4 * i, 4 * i + 3).fill(255, 4 * i + 3, 4 * i + 4));
  wish("layers", restored(shown), ({stages, pixels}) =>
    [{pixels: numbers, side}, ...stages, {pixels}].forEach((tile, i) => paint(tiles[i], tile.pixels, tile.side)));
}

function load(base, number = null, bound = 0) {
  cat = {base, number, bound};
  for (const {slider} of knobs) set(slider, 0);
  $("number").value = number ?? "";
  $("cat").setAttribute("aria-label", number === null ? "A cat without a number" : `Cat number ${number}`);
  show();
}

// A latent that is taken as it is, to the last bit.
function loadExactly(numbers) {
  pause();
  const all = Array.from({length: count}, (_, n) => n);
  const number = all.find(n => numbers.every((v, i) => v === known[n * model.zDim + i]));
  load(restored(numbers), number ?? null, +$("variety").value);
}

function pick(number) {
  pause();
  load(numbered(number), number);
}

// Sliders

function set(slider, value) {
  const share = v => 100 * (v - slider.min) / (slider.max - slider.min);
  slider.value = value;
  slider.style.setProperty("--zero", `${share(slider.dataset.zero ?? slider.min)}%`);
  slider.style.setProperty("--at", `${share(slider.value)}%`);
}

function makeKnob({label, less, more, low, high, vector}, i) {
  const part = (tag, text, options) => Object.assign(document.createElement(tag), {textContent: text, ...options});
  const slider = part("input", "", {type: "range", id: `knob-${i}`, min: low, max: high, step: .05});
  slider.dataset.zero = 0;
  const row = part("div", "", {className: "knob"});
  row.append(part("span", less), part("label", label, {htmlFor: slider.id}), part("span", more, {className: "more"}), slider);
  $("knobs").append(row);
  const turn = value => {
    halt();
    set(slider, value);
    const amount = Math.abs(slider.value).toFixed(2);
    slider.setAttribute("aria-valuetext", +slider.value ? `${amount} towards ${slider.value < 0 ? less : more}` : "as it was");
    show();
  };
  slider.addEventListener("input", () => turn(slider.value));
  slider.addEventListener("dblclick", () => turn(0));
  return {slider, vector};
}

const knobs = model.knobs.map(makeKnob);
Object.assign($("variety"), model.distribution === "normal" ? {min: .5, max: 4, step: .1} : {min: .1, max: 1, step: .02});
set($("variety"), $("variety").max);
$("variety").addEventListener("input", () => {
  halt();
  set($("variety"), $("variety").value);
  show();
});
$("variety").addEventListener("change", () => showSheet(first));

// The walk

const kept = {a: null, b: null};
const STEPS = 32, SECONDS = 4; // from one cat to the other
const frames = new Map(); // pictures of the walk by step; the ends are always there
let playing = 0;

function keep(end, numbers) {
  pause();
  kept[end] = numbers;
  frames.clear();
  wish(`kept ${end}`, restored(numbers), ({pixels}) => paint($(end), pixels));
}

const between = t => restored(kept.a).map((v, i) => v * (1 - t) + restored(kept.b)[i] * t);

// Pictures of the steps, the coarse ones first; what lies between those that are there is a blend of two.
function prepareFrames() {
  frames.set(0, $("a")).set(STEPS, $("b"));
  for (let step = STEPS / 2; step >= 1; step /= 2)
    for (let i = step; i < STEPS; i += 2 * step)
      wish(`walk ${i}`, between(i / STEPS), ({pixels}) => {
        const canvas = document.createElement("canvas");
        paint(canvas, pixels);
        if (playing) frames.set(i, canvas);
      });
}

function blend(t) {
  const steps = [...frames.keys()], at = t * STEPS;
  const from = Math.max(...steps.filter(step => step <= at)), to = Math.min(...steps.filter(step => step >= at));
  const pen = $("cat").getContext("2d");
  pen.drawImage(frames.get(from), 0, 0);
  pen.globalAlpha = to > from ? (at - from) / (to - from) : 0;
  pen.drawImage(frames.get(to), 0, 0);
  pen.globalAlpha = 1;
}

// There and back, slower at the ends. Who wants less motion gets a still picture a second.
function play() {
  prepareFrames();
  $("play").setAttribute("aria-pressed", "true");
  $("play").textContent = "Pause";
  const start = performance.now() - Math.acos(1 - 2 * $("walk").value) / Math.PI * 1000 * SECONDS;
  const frame = now => {
    const turns = Math.max(0, now - start) / 1000 / SECONDS;
    const t = (1 - Math.cos(Math.PI * (still.matches ? Math.floor(turns * SECONDS) / SECONDS : turns))) / 2;
    set($("walk"), t);
    blend(t);
    playing = requestAnimationFrame(frame);
  };
  playing = requestAnimationFrame(frame);
}

function pause() {
  if (!playing) return false;
  cancelAnimationFrame(playing);
  playing = 0;
  for (const place of wishes.keys()) if (place.startsWith("walk")) wishes.delete(place);
  $("play").setAttribute("aria-pressed", "false");
  $("play").textContent = "Play";
  return true;
}

// Stop where the walk is, and make that the cat.
function halt() {
  if (pause()) load(between($("walk").value), null, +$("variety").value);
}

$("walk").addEventListener("input", () => {
  pause();
  set($("walk"), $("walk").value);
  load(between($("walk").value), null, +$("variety").value);
});
$("play").addEventListener("click", () => playing ? halt() : play());
for (const end of ["a", "b"]) {
  $(`keep-${end}`).addEventListener("click", () => { halt(); keep(end, shown); });
  $(`show-${end}`).addEventListener("click", () => { set($("walk"), end === "a" ? 0 : 1); loadExactly(kept[end]); });
}

// The sheet

let first = 0; // number of its first cat

function showSheet(from) {
  first = (from + count) % count;
  [...$("sheet").children].forEach((button, i) => {
    const number = (first + i) % count;
    button.value = number;
    button.setAttribute("aria-label", `Cat number ${number}`);
    button.setAttribute("aria-pressed", String(number === cat.number));
    wish(`sheet ${i}`, restored(rounded(truncated(numbered(number), +$("variety").value))), ({pixels}) =>
      paint(button.firstChild, pixels));
  });
}

for (let i = 0; i < 16; i++) {
  const button = Object.assign(document.createElement("button"), {className: "picture"});
  button.append(document.createElement("canvas"));
  button.addEventListener("click", () => pick(+button.value));
  $("sheet").append(button);
}
$("back").addEventListener("click", () => showSheet(first - 16));
$("next").addEventListener("click", () => showSheet(first + 16));

// The buttons below the cat

const say = text => { $("status").textContent = text; };

function save(scale) {
  const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
  canvas.width = canvas.height = scale * model.size;
  pen.imageSmoothingQuality = "high";
  pen.drawImage($("cat"), 0, 0, canvas.width, canvas.width);
  canvas.toBlob(blob => {
    const link = document.createElement("a");
    link.download = `cat${cat.number === null ? "" : `-${cat.number}`}-${canvas.width}px.png`;
    link.href = URL.createObjectURL(blob);
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  });
}

$("new").addEventListener("click", () => { pause(); load(randomLatent()); });
$("reset").addEventListener("click", () => { for (const {slider} of knobs) set(slider, 0); show(); });
$("save").addEventListener("click", () => { halt(); save(1); });
$("save4").addEventListener("click", () => { halt(); save(4); });
$("copy").addEventListener("click", async () => {
  halt();
  rest();
  try {
    await navigator.clipboard.writeText(location.href);
    say("The link to this cat is copied.");
  } catch { // not everywhere may a page write there
    say("The link to this cat is in the address bar.");
  }
  setTimeout(say, 4000, "");
});
$("number").max = count - 1;
$("number").addEventListener("input", () => {
  const number = $("number").valueAsNumber;
  if (Number.isInteger(number) && number >= 0 && number < count) pick(number);
});

// How this works

const fill = (name, text) => document.querySelectorAll(`[data-fill=${name}]`).forEach(part => { part.textContent = text; });
fill("zDim", model.zDim);
fill("last", count - 1);
fill("numbers", model.layers.reduce((sum, layer) => sum + layer.numbers, 0).toLocaleString("en"));
const shapes = model.layers.map((layer, i) => i ? `${layer.side} × ${layer.side} × ${layer.channels}` : `${model.zDim} numbers`);
[...shapes, `${model.size} × ${model.size} × ${model.channels}`].forEach((shape, i) => {
  const item = document.createElement("li"), name = document.createElement("b"), learned = document.createElement("span");
  name.textContent = shape;
  learned.textContent = i ? model.layers[i - 1].numbers.toLocaleString("en") : "random";
  item.append(document.createElement("canvas"), name, learned);
  $("layers").append(item);
});

// The start: the cat of the link, or number 3

function open() {
  const numbers = fromLink(location.hash.slice(1));
  if (numbers && shown && toLink(numbers) === toLink(shown)) return;
  if (numbers) loadExactly(numbers); else pick(3);
  if (location.hash && !numbers) say("That link is not one to a cat of this page.");
}

addEventListener("hashchange", open);
keep("a", rounded(numbered(3)));
keep("b", rounded(numbered(10)));
set($("walk"), 0);
showSheet(0);
open();
