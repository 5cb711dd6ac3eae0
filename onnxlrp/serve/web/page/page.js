"use strict";
// The page of `onnxlrp serve web`: runs the explanation graph in the browser.
// After every explanation the document gets an event "explained" with the numbers as its detail.

const at = (name) => document.getElementById(name);
const query = new URLSearchParams(location.search);
let config, session, backend, picture, input, broken, queue = Promise.resolve();

function fail(error) {
  at("error").textContent = error.message ?? String(error);
  document.dispatchEvent(new CustomEvent("failed", { detail: at("error").textContent }));
}

// Work comes one after the other: a session runs one picture at a time.
function enqueue(work) {
  document.body.setAttribute("aria-busy", "true");
  queue = queue.then(() => {
    if (broken) throw broken;
    at("error").textContent = "";
    return work();
  }).catch(fail).finally(() => document.body.removeAttribute("aria-busy"));
}

function addScript(name) {
  return new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = name;
    script.onload = done;
    script.onerror = () => failed(new Error(missing(name)));
    document.head.append(script);
  });
}

function missing(name) {
  return `this page lacks ${name}: take it from the folder "dist" of the npm package ` +
    `onnxruntime-web ${config.runtime}, or run "onnxlrp serve web" with --runtime or --download`;
}

async function wantsGpu() {
  const asked = query.get("backend");
  if (asked === "wasm" || !config.webgpu || !navigator.gpu) return false;
  return (await navigator.gpu.requestAdapter()) !== null;
}

function begin() {
  return start().catch((error) => { throw broken = error; });  // nothing works without it
}

async function start() {
  config = await (await fetch("config.json")).json();
  document.title = at("model").textContent = config.name;
  const gpu = await wantsGpu();
  await addScript(gpu ? "ort/ort.webgpu.min.js" : "ort/ort.wasm.min.js");
  const part = gpu ? "asyncify." : "";
  for (const end of ["mjs", "wasm"]) {
    const name = `ort/ort-wasm-simd-threaded.${part}${end}`;
    if (!(await fetch(name, { method: "HEAD" })).ok) throw new Error(missing(name));
  }
  ort.env.wasm.wasmPaths = new URL("ort/", location.href).href;
  ort.env.wasm.numThreads = crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, 8) : 1;
  ort.env.logLevel = "error";
  const model = new Uint8Array(await (await fetch("model.onnx")).arrayBuffer());
  [session, backend] = await open(model, gpu);
  const notes = [`composite ${config.composite}`, `${backend}, in this browser`, ...config.notes];
  at("about").textContent = notes.join(" · ");
  at("controls").hidden = at("example").hidden = !config.example;
  at("choice").hidden = true;
  if (query.has("example") && config.example) await example();
}

async function open(model, gpu) {
  if (gpu) {
    try {
      return [await ort.InferenceSession.create(model, { executionProviders: ["webgpu"] }), "WebGPU"];
    } catch (error) {
      console.warn(`no WebGPU: ${error.message}`);
    }
  }
  return [await ort.InferenceSession.create(model, { executionProviders: ["wasm"] }), "WebAssembly"];
}

async function example() {
  const answer = await fetch(config.example);
  const target = query.get("target");
  await take(await answer.blob(), target === null ? null : Number(target));
}

async function take(file, target = null) {
  const whole = await readPicture(file, config.pixels);
  picture = fitPicture(whole, config.steps, config.size);
  input = arrange(picture, config.steps, config.layout);
  paint("picture", picture);
  paint("under", picture);
  await explain(target);
}

async function once(target) {
  const feeds = { [config.input]: new ort.Tensor(input.type, input.data, input.dims) };
  if (config.chooses) {
    const index = BigInt64Array.of(BigInt(target ?? 0));
    feeds.target = new ort.Tensor("int64", index, [1]);
  }
  const found = await session.run(feeds);
  return { scores: found[config.output].data, relevance: found[config.relevance].data };
}

// Without a class the prediction is explained: a graph that takes the class is run to learn it.
async function explain(target) {
  let found = await once(target);
  if (config.chooses && target === null) {
    target = best(found.scores);
    if (target !== 0) found = await once(target);
  }
  const heat = sumChannels(found.relevance, config.layout, picture.height, picture.width);
  if (!heat.every(Number.isFinite)) throw new Error("the relevance is not finite");
  const chosen = config.chooses ? target : (config.fixed ?? best(found.scores));
  show(found, heat, chosen);
}

function best(scores) {
  return scores.reduce((top, score, k) => (score > scores[top] ? k : top), 0);
}

function show(found, heat, target) {
  const { width, height } = picture;
  const top = fullColour(heat, config.percentile);
  const colours = colorize(heat, top, config.colours);
  for (const name of ["heatmap", "over"]) paintRgba(name, colours, width, height);
  const shares = probabilities(found.scores);
  const order = [...shares.keys()].sort((a, b) => shares[b] - shares[a]).slice(0, 5);
  at("top").replaceChildren(...order.map((k) => line(k, shares[k], k === target)));
  const sum = heat.reduce((a, b) => a + b, 0);
  at("numbers").textContent = `explained: ${label(target)} · score ` +
    `${found.scores[target].toPrecision(4)} · sum of relevance ${sum.toPrecision(4)}`;
  fillChoice(found.scores.length, target);
  at("found").hidden = at("controls").hidden = false;
  const scores = Array.from(found.scores);
  const relevance = Array.from(found.relevance);
  const detail = { target, scores, relevance, backend, top };
  document.dispatchEvent(new CustomEvent("explained", { detail }));
}

function probabilities(scores) {
  const list = Array.from(scores);
  const sum = list.reduce((a, b) => a + b, 0);
  if (list.every((score) => score >= 0) && Math.abs(sum - 1) < 1e-2) return list;
  const highest = Math.max(...list);
  const powers = list.map((score) => Math.exp(score - highest));
  const whole = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / whole);
}

function label(index) {
  return config.labels[index] ?? `class ${index}`;
}

function fillChoice(count, target) {
  if (!config.chooses) return;
  if (at("target").options.length !== count) {
    const options = Array.from({ length: count }, (_, k) => new Option(label(k), k));
    at("target").replaceChildren(...options);
  }
  at("target").value = String(target);
  at("choice").hidden = false;
}

function line(index, share, chosen) {
  const cells = Array.from({ length: 3 }, () => document.createElement("td"));
  const meter = document.createElement("meter");
  meter.value = share;
  const row = document.createElement("tr");
  row.className = chosen ? "chosen" : "";
  if (config.chooses) {
    row.dataset.index = index;
    row.onclick = () => enqueue(() => explain(index));
  }
  cells[0].textContent = label(index);
  cells[1].append(meter);
  cells[2].textContent = `${(100 * share).toFixed(1)} %`;
  row.append(...cells);
  return row;
}

function paint(name, { data, width, height }) {
  const rgba = new Uint8ClampedArray(width * height * 4).fill(255);
  for (let p = 0; p < width * height; p++) rgba.set(data.subarray(3 * p, 3 * p + 3), 4 * p);
  paintRgba(name, rgba, width, height);
}

function paintRgba(name, rgba, width, height) {
  const canvas = at(name);
  [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d").putImageData(new ImageData(rgba, width, height), 0, 0);
}

at("file").onchange = (event) => {
  const file = event.target.files[0];
  if (file) enqueue(() => take(file));
};
at("target").onchange = (event) => enqueue(() => explain(Number(event.target.value)));
at("example").onclick = () => enqueue(example);
addEventListener("dragover", (event) => {
  event.preventDefault();
  at("drop").classList.add("over");
});
addEventListener("dragleave", () => at("drop").classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  const file = event.dataTransfer.files[0];
  if (file) enqueue(() => take(file));
});
enqueue(begin);
