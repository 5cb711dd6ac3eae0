"""Pages of HTML in one file: no script, nothing loaded from elsewhere, every text escaped."""

import re
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias
from xml.etree import ElementTree as Tree

Part: TypeAlias = Tree.Element | str

# Nothing may be loaded, whatever a name in the page contains.
_POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; color: #20242a; background: #fff; margin: 2rem auto;
  max-width: 82rem; padding: 0 1.5rem; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.3rem; margin: 2.5rem 0 0; }
p { margin: .3rem 0; } .faint, th { color: #6e7680; font-weight: normal; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { text-align: left; vertical-align: top; padding: .3rem .9rem .3rem 0;
  border-bottom: 1px solid #dadee4; overflow-wrap: break-word; }
th { white-space: nowrap; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
img { display: block; max-width: 100%; margin: .8rem 0; }
.beside { display: flex; flex-wrap: wrap; gap: 0 4rem; align-items: flex-start; }
.bar { display: block; width: 12rem; height: .5rem; margin-top: .5rem; background: #dadee4; }
.bar span { display: block; height: 100%; background: #4c78a8; }
.chip { padding: 0 .5rem; border: 1px solid #b8bec8; border-radius: .4rem; white-space: nowrap; }
.wrong td { background: #fde2e1; } a { color: #2b5f9e; }
"""


def element(tag: str, *parts: Part, **attributes: str) -> Tree.Element:
    """Make an element of texts and elements; `class_` stands for the attribute `class`."""
    given = {name.rstrip("_"): _clean(value) for name, value in attributes.items()}
    made = Tree.Element(tag, given)
    for part in parts:
        if isinstance(part, Tree.Element):
            made.append(part)
        elif len(made):
            made[-1].tail = (made[-1].tail or "") + _clean(part)
        else:
            made.text = (made.text or "") + _clean(part)
    return made


def table(head: Sequence[Part], rows: Sequence[Tree.Element]) -> Tree.Element:
    """Make a table of rows under a head; an empty head is left out."""
    top = [element("thead", element("tr", *_cells("th", head)))] if head else []
    return element("table", *top, element("tbody", *rows))


def row(*parts: Part, **attributes: str) -> Tree.Element:
    """Make a row of a table; a part that is a cell already is kept."""
    return element("tr", *_cells("td", parts), **attributes)


def number(text: str, tag: str = "td") -> Tree.Element:
    """Make a cell for a number, or for the name over numbers."""
    return element(tag, text, class_="number")


def _cells(tag: str, parts: Sequence[Part]) -> Iterator[Tree.Element]:
    for part in parts:
        if isinstance(part, Tree.Element) and part.tag in ("td", "th"):
            yield part
        else:
            yield element(tag, part)


def page(title: str, *parts: Part) -> bytes:
    """Return a whole page."""
    style = element("style")
    style.text = _STYLE
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", **{"http-equiv": "Content-Security-Policy", "content": _POLICY}),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        style,
    )
    whole = element("html", head, element("body", *parts), lang="en")
    text = Tree.tostring(whole, encoding="unicode", method="html")
    return f"<!DOCTYPE html>\n{text}\n".encode()


def _clean(text: str) -> str:
    """Replace what no HTML file may hold."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
