"""The page of `onnxlrp paths`: the graph as SVG; a click on a node shows its numbers and edges."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree as Tree

from onnxlrp.cli.html import element, number, row, table
from onnxlrp.cli.paths.summary import Json
from onnxlrp.neurons.layout import Band, Spot, largest_messages, make_bands
from onnxlrp.neurons.network import Network, Path

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; color: #20242a; background: #fff; margin: 1.5rem auto;
  max-width: 1640px; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.15rem; margin: 1.5rem 0 .3rem; }
p { margin: .3rem 0; } .faint, th { color: #6e7680; font-weight: normal; }
table { border-collapse: collapse; margin: .5rem 0; }
th, td { text-align: left; vertical-align: top; padding: .2rem .9rem .2rem 0;
  border-bottom: 1px solid #dadee4; overflow-wrap: anywhere; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
img { display: block; max-width: 100%; margin: .8rem 0; }
svg { display: block; width: 100%; height: auto; }
svg text { font: 14px system-ui, sans-serif; fill: #20242a; paint-order: stroke; stroke: #fff;
  stroke-width: 4px; stroke-linejoin: round; }
svg text.head { font-size: 16px; } svg text.faint { font-size: 13px; fill: #6e7680; }
svg .node { cursor: pointer; } svg .node rect { fill: #fff; stroke-width: 2; }
svg .for { stroke: #c82626; } svg .against { stroke: #2454be; }
svg .edge { fill: none; } svg .skip { stroke-dasharray: 9 7; }
svg .best { stroke: #181818; opacity: 1; } svg .node.path rect { stroke: #181818; stroke-width: 4; }
svg .node.on rect { stroke: #e09000; stroke-width: 5; }
svg .node:focus-visible { outline: 3px solid #e09000; }
svg.picked .edge { opacity: .04; } svg.picked .edge.on { opacity: .95; }
#panel { position: sticky; bottom: 0; background: #fff; border-top: 2px solid #dadee4;
  padding: .6rem 0; display: flex; flex-wrap: wrap; gap: 0 2.5rem;
  max-height: 44vh; overflow: auto; }
#panel img { width: 160px; height: 160px; margin: 0; }
button { font: inherit; color: #2b5f9e; background: none; border: 0; padding: 0; cursor: pointer;
  text-decoration: underline; }
"""

_SCRIPT: Final = """
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const svg = document.getElementById("graph"), panel = document.getElementById("panel");
function make(tag, text) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  return made;
}
function line(values) {
  const tr = make("tr");
  for (const value of values) {
    const td = make("td");
    if (value instanceof Node) td.append(value); else td.textContent = value;
    tr.append(td);
  }
  return tr;
}
function link(id) {
  const made = make("button", id);
  made.onclick = () => pick(id);
  return made;
}
function edges(title, key, other, id) {
  const box = make("div"), table = make("table");
  const found = data.edges.filter(e => e[key] === id);
  found.sort((a, b) => Math.abs(b.message) - Math.abs(a.message));
  box.append(make("b", title + " (" + found.length + ")"), table);
  for (const e of found.slice(0, 12))
    table.append(line([link(e[other]), e.message.toPrecision(3),
      (100 * e.p).toFixed(1) + " %", e.skip ? "around" : ""]));
  return box;
}
function pick(id) {
  const node = data.nodes[id];
  svg.classList.add("picked");
  for (const item of svg.querySelectorAll(".on")) item.classList.remove("on");
  for (const item of svg.querySelectorAll("[data-node]"))
    if (item.dataset.node === id) item.classList.add("on");
  for (const item of svg.querySelectorAll(".edge"))
    if (item.dataset.from === id || item.dataset.to === id) item.classList.add("on");
  panel.replaceChildren();
  const image = svg.querySelector(".on image");
  if (image) {
    const shown = make("img");
    shown.src = image.getAttribute("href");
    shown.alt = "what " + id + " saw";
    panel.append(shown);
  }
  const box = make("div"), table = make("table");
  box.append(make("b", id), table);
  for (const [name, value] of Object.entries(node))
    table.append(line([name, typeof value === "number" && !Number.isInteger(value)
      ? value.toPrecision(4) : String(value)]));
  panel.append(box, edges("sends to: M, p", "upper", "lower", id),
    edges("receives from: M, p", "lower", "upper", id));
}
for (const item of svg.querySelectorAll("[data-node]")) {
  item.onclick = event => { event.stopPropagation(); pick(item.dataset.node); };
  item.onkeydown = event => { if (event.key === "Enter") pick(item.dataset.node); };
}
svg.onclick = () => {
  svg.classList.remove("picked");
  for (const item of svg.querySelectorAll(".on")) item.classList.remove("on");
};
"""


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """The pictures of the page, and its title.

    Attributes:
        thumbnails: PNG by node.
        wide: PNG by file name.
        title: What is explained.
    """

    thumbnails: Mapping[str, bytes]
    wide: Mapping[str, bytes]
    title: str


def make_page(graph: Network, paths: Sequence[Path], summary: Json, pictures: Pictures) -> bytes:
    """Return the page: one file, nothing loaded from elsewhere, its script named by its hash."""
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    policy = ("default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
              f"script-src 'sha256-{digest}'")  # fmt: skip
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", **{"http-equiv": "Content-Security-Policy", "content": policy}),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"{pictures.title} - onnxlrp paths"),
        _raw("style", _STYLE),
    )
    wide = [element("img", src=_data(png), alt=name) for name, png in pictures.wide.items()]
    body = element(
        "body",
        element("h1", f"Critical paths, {pictures.title}"),
        element("p", "Click a node to see what it saw, its numbers and its edges.", class_="faint"),
        _svg(graph, paths, pictures.thumbnails),
        element("div", element("p", "no node chosen", class_="faint"), id="panel"),
        *wide,
        element("h2", "Fidelity"),
        _fidelity(summary),
        element("h2", "Best paths"),
        _paths(paths),
        *_search(summary),
        _raw("script", _json(graph), type="application/json", id="data"),
        _raw("script", _SCRIPT),
    )
    text = Tree.tostring(element("html", head, body, lang="en"), encoding="unicode", method="html")
    return f"<!DOCTYPE html>\n{text}\n".encode()


def _raw(tag: str, text: str, **attributes: str) -> Tree.Element:
    made = element(tag, **attributes)
    made.text = text
    return made


def _data(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def _json(graph: Network) -> str:
    """The graph for the script; no tag can end in it."""
    edges = [
        {"upper": a, "lower": b, "message": d["message"], "p": d["p"], "skip": d["skip"]}
        for a, b, d in graph.edges(data=True)
    ]
    text = json.dumps({"nodes": dict(graph.nodes(data=True)), "edges": edges}, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _svg(graph: Network, paths: Sequence[Path], thumbnails: Mapping[str, bytes]) -> Tree.Element:
    bands = make_bands(graph, set(thumbnails), 0)
    height = bands[-1].top + bands[-1].height + 20
    best = set(zip(paths[0].nodes, paths[0].nodes[1:], strict=False)) if paths else set()
    on_path = {node for pair in best for node in pair}
    parts: list[Tree.Element] = []
    for band in bands:
        parts += _edges(graph, band, best)
        parts += _heads(graph, band)
        parts += [
            _node(name, graph.nodes[name], spot, thumbnails.get(name), name in on_path)
            for name, spot in band.spots.items()
        ]
    return element("svg", *parts, id="graph", viewBox=f"0 0 1600 {height}")


def _edges(graph: Network, band: Band, best: set[tuple[str, str]]) -> list[Tree.Element]:
    inside = [
        (upper, lower, data)
        for upper, lower, data in graph.edges(data=True)
        if upper in band.spots and lower in band.spots
    ]
    tops = largest_messages(graph)
    inside.sort(key=lambda item: (item[:2] in best, abs(item[2]["message"])))
    return [
        _edge(item, band, tops[graph.nodes[item[0]]["layer"]], best=item[:2] in best)
        for item in inside
    ]


def _edge(
    item: tuple[str, str, Mapping[str, float]], band: Band, top: float, *, best: bool
) -> Tree.Element:
    upper, lower, data = item
    (x0, y0), (x1, y1) = band.spots[lower].outlet, band.spots[upper].inlet
    size, reach = abs(data["message"]) / top, 0.45 * (x1 - x0)
    bow = 40 * min(data["span"] - 1, 2) * (-1 if y0 < band.top + band.height / 2 else 1)
    path = f"M{x0} {y0} C{x0 + reach:.0f} {y0 + bow:.0f} {x1 - reach:.0f} {y1 + bow:.0f} {x1} {y1}"
    kind = ["edge", "for" if data["message"] >= 0 else "against"]
    kind += ["skip"] * bool(data["skip"]) + ["best"] * best
    style = {"stroke-width": f"{max(9 * size, 0.7):.2f}", "opacity": f"{0.15 + 0.7 * size:.2f}"}
    ends = {"data-from": lower, "data-to": upper}
    return element("path", d=path, class_=" ".join(kind), **style, **ends)


def _heads(graph: Network, band: Band) -> list[Tree.Element]:
    names = {data["column"]: data["layer"] for _, data in graph.nodes(data=True)}
    return [
        element("text", names[k][-24:], x=str(left), y=str(band.top + 22), class_="head")
        for k, left in band.lefts.items()
        if k in names
    ]


def _node(
    name: str, data: Mapping[str, object], spot: Spot, png: bytes | None, path: bool
) -> Tree.Element:
    share = float(str(data["share"]))
    place = {"x": str(spot.left), "y": str(spot.top)}
    size = {"width": str(spot.width), "height": str(spot.height)}
    sign = "for" if float(str(data["relevance"])) >= 0 else "against"
    parts = [element("title", name), element("rect", **place, **size, class_=sign)]
    if png is not None:
        inner = {"x": str(spot.left + 2), "y": str(spot.top + 2), "href": _data(png)}
        sides = {"width": str(spot.width - 4), "height": str(spot.height - 4)}
        parts.append(element("image", **inner, **sides))
    below = spot.top + (spot.height + 15 if png is not None else 22)
    label = f"{str(data['label'])[:9]} {100 * share:+.1f} %"
    parts.append(element("text", label, x=str(spot.left + 4), y=str(below), class_="faint"))
    kind = "node path" if path else "node"
    return element("g", *parts, class_=kind, tabindex="0", **{"data-node": name})


def _fidelity(summary: Json) -> Tree.Element:
    rows = []
    fidelity = summary["fidelity"]
    assert isinstance(fidelity, Mapping)
    for key, numbers in fidelity.items():
        cells = (number(f"{numbers['mse']:.4g}"), number(f"{numbers['smape']:.4g}"))
        rows.append(row(key, str(numbers["compared"]), *cells))
    return table(("", "compared", number("MSE", "th"), number("SMAPE %", "th")), rows)


def _paths(paths: Sequence[Path]) -> Tree.Element:
    rows = [
        row(str(k + 1), " <- ".join(path.nodes), number(f"{path.share:.3g}"))
        for k, path in enumerate(paths)
    ]
    return table(("", "nodes", number("share", "th")), rows)


def _search(summary: Json) -> list[Tree.Element]:
    search = summary["search"]
    if not isinstance(search, Mapping):
        return []
    rows = [
        row(
            "one by one" if point["m"] is None else f"{point['m']:.4f}",
            number(str(point["nodes"])),
            number(f"{point['mse']:.4g}"),
            number(f"{point['smape']:.4g}"),
            "yes" if point["same_class"] else "no",
        )
        for point in search["curve"]
    ]
    head = ("m", number("nodes", "th"), number("MSE", "th"), number("SMAPE %", "th"), "same class")
    return [element("h2", f"Search: {search['nodes']} nodes"), table(head, rows)]
