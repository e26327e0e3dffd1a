"use strict";
// The generator. This file runs in a worker, so that the page stays responsive while a picture is computed.
//
// First comes a message with the model, its weights and the kernel, then one with a latent for each picture.
// Every layer is done by the same kernel, kernel.wat, or by `convolve` below where there is no WebAssembly.
// Pixels lie in the memory row by row, the channels of one beside each other, filled up to a multiple of 4.
//
// A transposed convolution of stride 2 doubles the sides: it would put zeros between the pixels and convolve
// with 5 x 5 weights. Of these only some fall on a pixel: in even rows and columns of the output the taps 3
// and 1, in odd ones 4, 2 and 0. So there are four ordinary convolutions, one for each phase of the output.
// catdcgan/export/page.py has sorted the weights: by phase, 4 output channels, row, column, input channel.

let draw; // from a latent to a picture

onmessage = ({data}) => {
  if (data.model) draw = makeNetwork(data.model, decode(data.weights), decode(data.kernel));
  else postMessage(draw(data.latent, data.stages));
};

function decode(base64) {
  const text = atob(base64), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

function makeNetwork({layers, size, channels, pixelRange}, weights, kernel) {
  let top = 0; // everything has a place in one memory; addresses are in bytes
  const place = floats => (top += 4 * floats) - 4 * floats;
  for (const layer of layers) {
    const {side, pad, from, to, taps} = layer;
    layer.bias = place(to);
    layer.phases = taps.flatMap((rows, y) => taps.map((columns, x) =>
      ({y, x, rows, length: 4 * columns * from, weights: place(to * rows * columns * from)})));
    layer.row = 4 * from * (side + 2 * pad); // with a border of zeros: bytes from one row to the next
    layer.input = place((side + 2 * pad) ** 2 * from);
  }
  const start = place(layers[0].to), picture = place(size * size * layers.at(-1).to);
  place(8 * Math.max(...layers.map(layer => layer.from))); // room for what the kernel reads beyond the last pixel

  const {memory, convolve, engine} = makeKernel(kernel, top);
  const heap = new Float32Array(memory);
  unpack(layers, weights, heap);

  return (latent, wantStages) => {
    const began = performance.now();
    heap.set(latent, layers[0].input / 4);
    layers.forEach((layer, l) => {
      const next = layers[l + 1];
      if (l === 0) { // the dense layer's numbers are the pixels of the next layer's input, less its border
        run(layer, convolve, start, 0, 0);
        const row = next.side * next.from;
        for (let y = 0; y < next.side; y++)
          heap.copyWithin(interior(next) / 4 + y * next.row / 4, start / 4 + y * row, start / 4 + (y + 1) * row);
      } else if (next) run(layer, convolve, interior(next), next.row, 4 * next.from);
      else run(layer, convolve, picture, 4 * size * layer.to, 4 * layer.to);
    });
    const pixels = new Uint8ClampedArray(4 * size * size); // rounds and clips as to_pixels does
    const step = layers.at(-1).to;
    for (let i = 0; i < size * size; i++) {
      for (let c = 0; c < 3; c++)
        pixels[4 * i + c] = (Math.tanh(heap[picture / 4 + i * step + c % channels]) / pixelRange + 1) * 127.5;
      pixels[4 * i + 3] = 255;
    }
    const stages = wantStages ? layers.slice(1).map(layer => stage(layer, heap)) : [];
    return {pixels, stages, engine, time: performance.now() - began};
  };
}

// The address of a layer's first input inside the border.
const interior = ({input, pad, row, from}) => input + pad * (row + 4 * from);

// Compute a layer from its input. `out` is the place of the first output, and what follows are the bytes from
// one row of outputs to the next and from one pixel to the next.
function run({side, from, to, input, row, taps, phases, bias, slope}, convolve, out, outRow, outPixel) {
  const stride = taps.length, wide = 4 * from;
  for (const {y, x, rows, length, weights} of phases)
    for (let o = 0; o < to; o += 4) {
      const w = weights + o * rows * length;
      for (let q = 0; q < side; q++) for (let p = 0; p < side; p += 8)
        convolve(input + q * row + p * wide, wide, rows, length, row, w, bias + 4 * o,
          out + (q * stride + y) * outRow + (p * stride + x) * outPixel + 4 * o, stride * outPixel,
          Math.min(8, side - p), slope);
    }
}

// All biases come first, as float32, then all weights, as float16 in units of their layer's `scale`.
function unpack(layers, bytes, heap) {
  const half = new Float32Array(65536);
  for (let i = 0; i < 65536; i++) {
    const exponent = i >> 10 & 31, fraction = i & 1023;
    half[i] = (i >> 15 ? -1 : 1) * (exponent ? 2 ** (exponent - 25) * (1024 + fraction) : 2 ** -24 * fraction);
  }
  let at = 0;
  for (const {bias, to} of layers) {
    heap.set(new Float32Array(bytes.buffer, 4 * at, to), bias / 4);
    at += to;
  }
  const halves = new Uint16Array(bytes.buffer, 4 * at);
  at = 0;
  for (const {phases, scale, to} of layers) for (const {weights, rows, length} of phases)
    for (let i = weights / 4, end = i + to * rows * length / 4; i < end; i++) heap[i] = scale * half[halves[at++]];
}

// WebAssembly with SIMD (Chrome 91, Firefox 89, Safari 16.4), or else JavaScript on the same memory.
function makeKernel(kernel, size) {
  if (typeof WebAssembly === "object" && WebAssembly.validate(kernel)) {
    const memory = new WebAssembly.Memory({initial: Math.ceil(size / 65536)});
    const {exports} = new WebAssembly.Instance(new WebAssembly.Module(kernel), {page: {memory}});
    return {memory: memory.buffer, convolve: exports.convolve, engine: "WebAssembly"};
  }
  const memory = new ArrayBuffer(size), heap = new Float32Array(memory);
  return {memory, convolve: (...numbers) => convolve(heap, ...numbers), engine: "JavaScript"};
}

// What kernel.wat does, pixel by pixel; see there for the arguments.
function convolve(heap, x, xStep, rows, length, rowStep, w, bias, out, outStep, count, slope) {
  for (let pixel = 0; pixel < count; pixel++) {
    let a = heap[bias >> 2], b = heap[(bias >> 2) + 1], c = heap[(bias >> 2) + 2], d = heap[(bias >> 2) + 3];
    for (let row = 0, k = w >> 2; row < rows; row++) {
      let i = (x + pixel * xStep + row * rowStep) >> 2;
      for (const end = i + (length >> 2); i < end; i++, k += 4) {
        const input = heap[i];
        a += input * heap[k];
        b += input * heap[k + 1];
        c += input * heap[k + 2];
        d += input * heap[k + 3];
      }
    }
    const at = (out + pixel * outStep) >> 2;
    heap[at] = a > 0 ? a : slope * a;
    heap[at + 1] = b > 0 ? b : slope * b;
    heap[at + 2] = c > 0 ? c : slope * c;
    heap[at + 3] = d > 0 ? d : slope * d;
  }
}

// What enters a layer, as a picture to look at: the mean of the channels, from the lowest black to the highest white.
function stage({side, from, row, ...layer}, heap) {
  const means = new Float32Array(side * side), first = interior({from, row, ...layer}) / 4;
  for (let y = 0; y < side; y++) for (let x = 0; x < side; x++)
    for (let c = 0; c < from; c++) means[y * side + x] += heap[first + y * row / 4 + x * from + c] / from;
  const low = means.reduce((a, b) => Math.min(a, b)), high = means.reduce((a, b) => Math.max(a, b));
  const pixels = new Uint8ClampedArray(4 * side * side).fill(255);
  means.forEach((mean, i) => pixels.fill(255 * (mean - low) / (high - low || 1), 4 * i, 4 * i + 3));
  return {side, pixels};
}
