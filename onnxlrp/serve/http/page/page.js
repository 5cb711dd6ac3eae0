"use strict";
// The page of `onnxlrp serve http`: sends a picture to /explain and shows the answer.

const at = (name) => document.getElementById(name);
let picture = null;
let about = {};
let latest = 0;

function fail(text) {
  at("error").textContent = text;
}

async function load() {
  about = await (await fetch("about")).json();
  document.title = at("model").textContent = about.model;
  const notes = [`composite ${about.composite}`, ...about.notes];
  at("about").textContent = notes.join(" · ");
  at("target").disabled = !about.chooses;
  if (!about.pictures) {
    fail("this model takes no picture: send arrays to the infer address");
    at("drop").hidden = true;
  }
  if (about.chooses) at("target").append(new Option("the predicted class", ""));
  if (about.chooses) about.labels.forEach((text, k) => at("target").append(new Option(text, k)));
}

async function explain(target) {
  if (!picture) return;
  const mine = ++latest;
  fail("");
  document.body.setAttribute("aria-busy", "true");
  try {
    const query = target === "" ? "" : `?target=${encodeURIComponent(target)}`;
    const answer = await fetch(`explain${query}`, { method: "POST", body: picture });
    const found = await answer.json();
    if (mine !== latest) return;
    if (!answer.ok) fail(found.error);
    else show(found);
  } catch (error) {
    if (mine === latest) fail(`the server does not answer: ${error.message}`);
  } finally {
    if (mine === latest) document.body.removeAttribute("aria-busy");
  }
}

function show(found) {
  at("picture").src = at("under").src = found.picture;
  at("heatmap").src = at("over").src = found.heatmap;
  const chosen = found.target.join(",");
  const numbers = [`explained: ${found.label || chosen || about.target}`];
  if (found.score !== null) numbers.push(`score ${found.score.toPrecision(4)}`);
  numbers.push(`sum of relevance ${found.relevance.toPrecision(4)}`);
  at("numbers").textContent = numbers.join(" · ");
  at("top").replaceChildren(...found.top.map((row) => line(row, chosen)));
  at("found").hidden = at("controls").hidden = false;
}

function line(row, chosen) {
  const cells = [document.createElement("td"), document.createElement("td")];
  const meter = document.createElement("meter");
  meter.value = row.share;
  const tr = document.createElement("tr");
  tr.dataset.index = row.index;
  tr.className = String(row.index) === chosen ? "chosen" : "";
  if (about.chooses) tr.onclick = () => choose(row.index);
  cells[0].textContent = row.label;
  cells[1].textContent = `${(100 * row.share).toFixed(1)} %`;
  const bar = document.createElement("td");
  bar.append(meter);
  tr.append(cells[0], bar, cells[1]);
  return tr;
}

function choose(index) {
  const known = [...at("target").options].some((option) => option.value === String(index));
  if (!known) at("target").append(new Option(`class ${index}`, index));
  at("target").value = String(index);
  explain(String(index));
}

function take(file) {
  if (!file) return;
  picture = file;
  at("target").value = "";
  explain("");
}

at("file").onchange = (event) => take(event.target.files[0]);
at("target").onchange = (event) => explain(event.target.value);
addEventListener("dragover", (event) => {
  event.preventDefault();
  at("drop").classList.add("over");
});
addEventListener("dragleave", () => at("drop").classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  take(event.dataTransfer.files[0]);
});
load().catch((error) => fail(`the server does not answer: ${error.message}`));
