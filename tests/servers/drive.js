"use strict";
// Uses the page as a person does: a picture goes in, then a class is chosen.
const send = (result) => fetch("result", { method: "POST", body: JSON.stringify(result) });

function answer(page, act) {
  return new Promise((done, failed) => {
    page.addEventListener("explained", (event) => done(event.detail), { once: true });
    page.addEventListener("failed", (event) => failed(new Error(event.detail)), { once: true });
    act();
  });
}

function pixels(page, name) {
  const canvas = page.getElementById(name);
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return { width: canvas.width, height: canvas.height, data: Array.from(data) };
}

async function drive() {
  const query = new URLSearchParams(location.search);
  const frame = document.createElement("iframe");
  frame.src = `index.html?backend=${query.get("backend") ?? ""}`;
  frame.style = "width: 1000px; height: 700px";
  document.body.append(frame);
  await new Promise((done) => (frame.onload = done));
  const page = frame.contentDocument;
  const blob = await (await fetch("dropped.png")).blob();
  const files = new frame.contentWindow.DataTransfer();
  files.items.add(new frame.contentWindow.File([blob], "dropped.png", { type: "image/png" }));
  const input = page.getElementById("file");
  const change = () => new frame.contentWindow.Event("change");
  const predicted = await answer(page, () => {
    input.files = files.files;
    input.dispatchEvent(change());
  });
  const shown = pixels(page, "picture");
  let chosen = null;
  if (query.has("target")) {
    const select = page.getElementById("target");
    chosen = await answer(page, () => {
      select.value = query.get("target");
      select.dispatchEvent(change());
    });
  }
  const loaded = frame.contentWindow.performance.getEntriesByType("resource");
  await send({
    predicted,
    chosen,
    shown,
    heatmap: pixels(page, "heatmap"),
    loaded: loaded.map((entry) => entry.name),
    isolated: frame.contentWindow.crossOriginIsolated,
    rows: page.querySelectorAll("#top tr").length,
    names: Array.from(page.querySelectorAll("#top tr"), (row) => row.cells[0].textContent),
    foreign: page.querySelectorAll("img, b").length,
    title: page.title,
    about: page.getElementById("about").textContent,
  });
}

drive().catch((error) => send({ error: error.message }));
