"use strict";
// The generator, in a worker, so that the page stays responsive meanwhile. The first message brings the model, its
// weights and the kernel; each further one is a latent, and is answered with its picture.
// Every layer is computed by kernel.wat, or by `convolve` below where there is no WebAssembly. Pixels lie in the
// memory row by row, the channels of one beside each other, filled up to a multiple of 4.
//
// A transposed convolution of stride 2 puts zeros between the pixels and convolves with 5 x 5 weights. In even rows
// of the output the taps 3 and 1 fall on pixels, in odd ones 4, 2 and 0, and so it is with columns: these are four
// ordinary convolutions, one for each phase of the output. page.py has sorted the weights accordingly.

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
    layer.row = 4 * from * (side + 2 * pad); // bytes of a row of inputs, with a border of zeros
    layer.input = place((side + 2 * pad) ** 2 * from);
    layer.inside = layer.input + pad * (layer.row + 4 * from); // the first input that is not border
  }
  const [dense, first] = layers, last = layers.at(-1);
  const flat = place(dense.to), picture = place(size * size * last.to);
  place(8 * Math.max(...layers.map(layer => layer.from))); // the kernel reads beyond the last pixel
  const {memory, convolve, engine} = makeKernel(kernel, top);
  const heap = new Float32Array(memory);
  unpack(layers, weights, heap);

  return (latent, wantsStages) => {
    const start = performance.now();
    heap.set(latent, dense.input / 4);
    run(dense, convolve, flat, 0, 0);
    for (let y = 0, length = first.side * first.from; y < first.side; y++) // the dense layer knows no border
      heap.set(heap.subarray(flat / 4 + y * length, flat / 4 + (y + 1) * length), (first.inside + y * first.row) / 4);
    for (let l = 1; l < layers.length - 1; l++)
      run(layers[l], convolve, layers[l + 1].inside, layers[l + 1].row, 4 * layers[l].to);
    run(last, convolve, picture, 4 * size * last.to, 4 * last.to);
    const pixels = new Uint8ClampedArray(4 * size * size).fill(255); // rounds and clips as to_pixels does
    for (let i = 0; i < size * size; i++) for (let c = 0; c < 3; c++)
      pixels[4 * i + c] = (Math.tanh(heap[picture / 4 + i * last.to + c % channels]) / pixelRange + 1) * 127.5;
    const stages = wantsStages ? layers.slice(1).map(layer => stage(layer, heap)) : [];
    return {pixels, stages, engine, time: performance.now() - start};
  };
}

// Compute a layer. `out` is the place of its first output, followed by the bytes from row to row and pixel to pixel.
function run({side, from, to, input, row, taps, phases, bias, slope}, convolve, out, outRow, outPixel) {
  const stride = taps.length, pixel = 4 * from;
  for (const {y, x, rows, length, weights} of phases)
    for (let o = 0; o < to; o += 4) for (let q = 0; q < side; q++) for (let p = 0; p < side; p += 8)
      convolve(input + q * row + p * pixel, pixel, rows, length, row, weights + o * rows * length, bias + 4 * o,
        out + (q * stride + y) * outRow + (p * stride + x) * outPixel + 4 * o, stride * outPixel,
        Math.min(8, side - p), slope);
}

// All biases come first, as float32, then all weights, as float16 in units of their layer's `scale`.
function unpack(layers, bytes, heap) {
  const half = Float32Array.from({length: 65536}, (_, i) => {
    const exponent = i >> 10 & 31, fraction = i & 1023;
    return (i >> 15 ? -1 : 1) * (exponent ? 2 ** (exponent - 25) * (1024 + fraction) : 2 ** -24 * fraction);
  });
  const biases = new Float32Array(bytes.buffer, 0, layers.reduce((sum, layer) => sum + layer.to, 0));
  const halves = new Uint16Array(bytes.buffer, biases.byteLength);
  let b = 0, h = 0;
  for (const {bias, phases, scale, to} of layers) {
    heap.set(biases.subarray(b, b += to), bias / 4);
    for (const {weights, rows, length} of phases)
      for (let i = weights / 4, end = i + to * rows * length / 4; i < end; i++) heap[i] = scale * half[halves[h++]];
  }
}

// WebAssembly with SIMD (Chrome 91, Firefox 89, Safari 16.4), or else JavaScript; both on the same memory.
function makeKernel(kernel, size) {
  if (typeof WebAssembly === "object" && WebAssembly.validate(kernel)) {
    const memory = new WebAssembly.Memory({initial: Math.ceil(size / 65536)});
    const {exports} = new WebAssembly.Instance(new WebAssembly.Module(kernel), {page: {memory}});
    return {memory: memory.buffer, convolve: exports.convolve, engine: "WebAssembly"};
  }
  const memory = new ArrayBuffer(size), heap = new Float32Array(memory);
  return {memory, convolve: (...numbers) => convolve(heap, ...numbers), engine: "JavaScript"};
}

// What kernel.wat does, one pixel at a time; see there for the arguments.
function convolve(heap, x, xStep, rows, length, rowStep, w, bias, out, outStep, count, slope) {
  const leaky = sum => sum > 0 ? sum : slope * sum;
  for (let pixel = 0, from = bias >> 2; pixel < count; pixel++) {
    let a = heap[from], b = heap[from + 1], c = heap[from + 2], d = heap[from + 3];
    for (let row = 0, k = w >> 2; row < rows; row++) {
      let i = (x + pixel * xStep + row * rowStep) >> 2;
      for (const end = i + (length >> 2); i < end; i++, k += 4) {
        a += heap[i] * heap[k]; b += heap[i] * heap[k + 1]; c += heap[i] * heap[k + 2]; d += heap[i] * heap[k + 3];
      }
    }
    const to = (out + pixel * outStep) >> 2;
    heap[to] = leaky(a); heap[to + 1] = leaky(b); heap[to + 2] = leaky(c); heap[to + 3] = leaky(d);
  }
}

// What enters a layer, to look at: the mean of the channels, the lowest hundredth black and the highest white.
function stage({side, from, row, inside}, heap) {
  const means = Float32Array.from({length: side * side}, (_, i) => {
    const start = (inside + Math.floor(i / side) * row) / 4 + i % side * from;
    return heap.subarray(start, start + from).reduce((sum, value) => sum + value, 0) / from;
  });
  const [low, high] = [.01, .99].map(part => means.slice().sort()[Math.floor(part * means.length)]);
  const pixels = new Uint8ClampedArray(4 * side * side).fill(255);
  means.forEach((mean, i) => pixels.fill(255 * (mean - low) / (high - low || 1), 4 * i, 4 * i + 3));
  return {side, pixels};
}
