"use strict";
// Uses the page of `onnxlrp serve http` as a person does: a picture goes in, then a row is clicked.
async function until(condition) {
  for (let turn = 0; turn < 600; turn++) {
    const found = condition();
    if (found) return found;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error("nothing happened");
}

function seen(page) {
  const rows = [...page.querySelectorAll("#top tr")].map((row) => row.cells[0].textContent);
  const chosen = page.querySelector("#top tr.chosen")?.cells[0].textContent;
  const { naturalWidth, naturalHeight } = page.getElementById("heatmap");
  return { rows, chosen, size: [naturalWidth, naturalHeight] };
}

async function drive() {
  const frame = document.createElement("iframe");
  frame.src = "index.html";
  document.body.append(frame);
  await new Promise((done) => (frame.onload = done));
  const page = frame.contentDocument;
  const about = await until(() => page.getElementById("about").textContent);
  const blob = await (await fetch("dropped.png")).blob();
  const files = new frame.contentWindow.DataTransfer();
  files.items.add(new frame.contentWindow.File([blob], "dropped.png", { type: "image/png" }));
  const drop = new frame.contentWindow.DragEvent("drop", { dataTransfer: files });
  frame.contentWindow.dispatchEvent(drop);
  await until(() => page.querySelector("#top tr.chosen"));
  await until(() => page.getElementById("heatmap").naturalWidth);
  const first = seen(page);
  const map = page.getElementById("heatmap").src;
  page.querySelectorAll("#top tr")[1].click();
  await until(() => page.getElementById("heatmap").src !== map);
  await until(() => page.getElementById("heatmap").naturalWidth);
  return { about, first, second: seen(page) };
}

drive().catch((error) => ({ error: error.message })).then((result) =>
  fetch("result", { method: "POST", body: JSON.stringify(result) }));
