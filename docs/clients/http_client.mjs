// Asks `onnxlrp serve http` (or any Open Inference Protocol v2 server) from JavaScript: Node 18 or
// a browser, nothing to install.
//
//     node http_client.mjs http://127.0.0.1:8000 picture.png [class]      a picture in, a PNG out
//
// `infer` is what a program of your own would use: it sends and receives numbers.

const LENGTH = "Inference-Header-Content-Length";

// inputs: {name: {datatype: "FP32", shape: [1, 3, 64, 64], data: Float32Array}}
export async function infer(address, model, inputs) {
  const entries = Object.entries(inputs).map(([name, { datatype, shape, data }]) => (
    { name, datatype, shape, parameters: { binary_data_size: data.byteLength } }
  ));
  const text = new TextEncoder().encode(
    JSON.stringify({ inputs: entries, parameters: { binary_data_output: true } }),
  );
  const body = new Blob([text, ...Object.values(inputs).map(({ data }) => data)]);
  const headers = { [LENGTH]: String(text.length), "Content-Type": "application/octet-stream" };
  const url = `${address}/v2/models/${model}/infer`;
  const answer = await fetch(url, { method: "POST", headers, body });
  if (!answer.ok) throw new Error((await answer.json()).error);
  const content = await answer.arrayBuffer();
  let at = Number(answer.headers.get(LENGTH));
  const outputs = JSON.parse(new TextDecoder().decode(content.slice(0, at))).outputs;
  return Object.fromEntries(outputs.map(({ name, datatype, shape, parameters }) => {
    const part = content.slice(at, (at += parameters.binary_data_size));
    return [name, { shape, data: new { FP32: Float32Array, INT64: BigInt64Array }[datatype](part) }];
  }));
}

async function main([address, file, target]) {
  const { readFile, writeFile } = await import("node:fs/promises");
  const query = target === undefined ? "" : `?target=${target}`;
  const body = await readFile(file);
  const answer = await fetch(`${address}/explain${query}`, { method: "POST", body });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  for (const { label, share } of found.top) console.log(`${(100 * share).toFixed(1)} %  ${label}`);
  await writeFile("heatmap.png", Buffer.from(found.heatmap.split(",")[1], "base64"));
  console.log(`wrote heatmap.png for ${found.label || found.target}`);
}

if (typeof process !== "undefined" && import.meta.url === `file://${process.argv[1]}`) {
  await main(process.argv.slice(2));
}
