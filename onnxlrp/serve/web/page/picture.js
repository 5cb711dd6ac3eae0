"use strict";
// Pictures to model inputs, number for number as `onnxlrp explain` does it in Python.

// Decodes a file to RGB bytes [h, w, 3]; what is transparent lies on white.
async function readPicture(file, mostPixels) {
  const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const bitmap = await createImageBitmap(file, options);
  const { width, height } = bitmap;
  if (width * height > mostPixels) {
    bitmap.close();
    throw new Error(`the picture has ${width} x ${height} pixels, more than ${mostPixels}`);
  }
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const rgba = context.getImageData(0, 0, width, height).data;
  const data = new Uint8Array(width * height * 3);
  for (let p = 0, q = 0; p < rgba.length; p += 4) {
    const alpha = rgba[p + 3] / 255;
    for (let c = 0; c < 3; c++) data[q++] = Math.round(rgba[p + c] * alpha + 255 * (1 - alpha));
  }
  return { data, width, height };
}

function roundHalfEven(value) {
  const low = Math.floor(value);
  const rest = value - low;
  return rest < 0.5 || (rest === 0.5 && low % 2 === 0) ? low : low + 1;
}

// Height and width after resizing: the shorter side covers `size`, or what is cut out.
function resizedSize(height, width, steps, fixed) {
  const pair = (side) => (Array.isArray(side) ? side : [side, side]);
  if (Array.isArray(steps.size)) return steps.size;
  const cover = steps.size ?? steps.crop ?? fixed;
  if (cover === null || cover === undefined) return [height, width];
  const least = pair(cover);
  const factor = Math.max(least[0] / height, least[1] / width);
  return [height, width].map((side, k) =>
    Math.max(roundHalfEven(side * factor), 1, least[k]),
  );
}

// Weights of the triangle filter per output pixel, in units of 2^-22 as Pillow has them.
function weights(from, to) {
  const scale = from / to;
  const support = Math.max(scale, 1);
  return Array.from({ length: to }, (_, k) => {
    const center = (k + 0.5) * scale;
    const low = Math.max(Math.trunc(center - support + 0.5), 0);
    const high = Math.min(Math.trunc(center + support + 0.5), from);
    const raw = [];
    for (let x = low; x < high; x++) {
      raw.push(Math.max(1 - Math.abs((x - center + 0.5) * (1 / support)), 0));
    }
    const sum = raw.reduce((a, b) => a + b, 0);
    return { low, values: raw.map((w) => Math.trunc(0.5 + (w / sum) * 2 ** 22)) };
  });
}

// Resizes one axis of bytes [lines, from, step]: `step` bytes lie between neighbours.
function resizeAxis(data, lines, from, to, step) {
  if (from === to) return data;
  const out = new Uint8Array(lines * to * step);
  const taps = weights(from, to);
  for (let line = 0; line < lines; line++) {
    for (let k = 0; k < to; k++) {
      const { low, values } = taps[k];
      for (let c = 0; c < step; c++) {
        let sum = 2 ** 21;
        let at = (line * from + low) * step + c;
        for (const value of values) {
          sum += data[at] * value;
          at += step;
        }
        out[(line * to + k) * step + c] = Math.min(Math.max(Math.floor(sum / 2 ** 22), 0), 255);
      }
    }
  }
  return out;
}

// Resizes and cuts a picture to what the model sees.
function fitPicture(picture, steps, fixed) {
  const [height, width] = resizedSize(picture.height, picture.width, steps, fixed);
  let data = resizeAxis(picture.data, picture.height, picture.width, width, 3);
  data = resizeAxis(data, 1, picture.height, height, width * 3);
  const cut = steps.crop ?? fixed ?? [height, width];
  const [h, w] = Array.isArray(cut) ? cut : [cut, cut];
  if (h > height || w > width) throw new Error(`cannot cut ${h} x ${w} from ${height} x ${width}`);
  const top = Math.floor((height - h) / 2);
  const left = Math.floor((width - w) / 2);
  const out = new Uint8Array(h * w * 3);
  for (let y = 0; y < h; y++) {
    const start = ((top + y) * width + left) * 3;
    out.set(data.subarray(start, start + w * 3), y * w * 3);
  }
  return { data: out, width: w, height: h };
}

const ARRAYS = { float32: Float32Array, uint8: Uint8Array, int8: Int8Array, int32: Int32Array };
const RANGES = { uint8: [0, 255], int8: [-128, 127], int32: [-(2 ** 31), 2 ** 31 - 1] };

// One channel value of a pixel that starts at `at`.
function channel(data, at, c, kind) {
  if (kind === "bgr") return data[at + 2 - c];
  if (kind === "rgb") return data[at + c];
  const [r, g, b] = [data[at], data[at + 1], data[at + 2]];
  return (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16;
}

// The model input: x = (pixel * scale - mean) / std, in the layout of the model.
function arrange(picture, steps, layout) {
  const { data, width, height } = picture;
  const channels = steps.channels === "gray" ? 1 : 3;
  const pick = (list, c) => list[list.length === 1 ? 0 : c];
  const first = layout.indexOf("C") >= 0 && layout.indexOf("C") < layout.indexOf("H");
  const out = new ARRAYS[steps.dtype](width * height * channels);
  const range = RANGES[steps.dtype];
  for (let p = 0; p < width * height; p++) {
    for (let c = 0; c < channels; c++) {
      const pixel = channel(data, 3 * p, c, steps.channels);
      let value = (pixel * steps.scale - pick(steps.mean, c)) / pick(steps.std, c);
      if (range) value = Math.min(Math.max(roundHalfEven(value), range[0]), range[1]);
      out[first ? c * width * height + p : p * channels + c] = value;
    }
  }
  const sizes = { N: 1, C: channels, H: height, W: width };
  return { data: out, dims: [...layout].map((axis) => sizes[axis]), type: steps.dtype };
}

// Relevance to [h, w]: channels summed.
function sumChannels(values, layout, height, width) {
  const pixels = height * width;
  const channels = values.length / pixels;
  const first = layout.indexOf("C") < layout.indexOf("H");
  return Float64Array.from({ length: pixels }, (_, p) => {
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += values[first ? c * pixels + p : p * channels + c];
    return sum;
  });
}

// |value| that gets the full colour: a percentile, or the maximum of a sparse map.
function fullColour(heat, percentile) {
  const sizes = Float64Array.from(heat, Math.abs).sort();
  const at = ((sizes.length - 1) * percentile) / 100;
  const low = Math.floor(at);
  const high = Math.min(low + 1, sizes.length - 1);
  return sizes[low] + (sizes[high] - sizes[low]) * (at - low) || sizes[sizes.length - 1];
}

// Colours [h, w, 4] of a heatmap; the table holds RGB from the most negative to the most positive.
function colorize(heat, top, table) {
  const out = new Uint8ClampedArray(heat.length * 4);
  const last = table.length / 3 - 1;
  heat.forEach((value, p) => {
    const scaled = top ? Math.min(Math.max(value / top, -1), 1) : 0;
    const at = 3 * roundHalfEven(((scaled + 1) / 2) * last);
    for (let c = 0; c < 3; c++) out[4 * p + c] = table[at + c];
    out[4 * p + 3] = 255;
  });
  return out;
}
