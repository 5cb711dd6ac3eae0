"""Builds the site of docs/ into build/site and checks it.

    python -m venv env && env/bin/pip install -e '.[docs]'
    env/bin/python tools/docs_site.py            # build strictly, then check
    env/bin/python tools/docs_site.py --check    # check what is built

Material for mkdocs 1 is stable and gets fixes until May 2027. `zensical build`, its successor, not
yet at version 1, makes the same site from the same mkdocs.yml (tried: 0.0.73).
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "build/site"

LOADS = {
    "audio": ("src",), "embed": ("src",), "iframe": ("src",), "image": ("href",),
    "img": ("src", "srcset"), "input": ("src",), "link": ("href",), "object": ("data",),
    "script": ("src",), "source": ("src", "srcset"), "track": ("src",), "use": ("href",),
    "video": ("poster", "src"),
}  # fmt: skip
"""What a browser fetches by itself: tag -> attributes that hold an address."""

IGNORED_LINKS = frozenset({"canonical", "next", "prev"})
"""`rel` of links that a browser does not fetch."""

EXAMPLES = "clients"
"""Programs that the site only hands out: what they link to lies where a user puts them."""

STYLE_URL = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")


@dataclass
class Page:
    """What a page holds.

    Attributes:
        ids: What an anchor can name.
        links: Addresses that a reader can follow.
        loads: Addresses that a browser fetches by itself.
        formulas: Number of formulas that were not turned into MathML.
    """

    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    formulas: int = 0


class Reader(HTMLParser):
    """Collects anchors, links and loads of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self.style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what one tag says."""
        given = {name.removeprefix("xlink:"): value or "" for name, value in attrs}
        self.page.ids.update(given[name] for name in ("id", "name") if name in given)
        self.page.formulas += "arithmatex" in given.get("class", "")
        self.style = tag == "style"
        if tag == "a" and "href" in given:
            self.page.links.append(given["href"])
        if tag == "link" and given.get("rel") in IGNORED_LINKS:
            return
        self.page.loads += [given[name] for name in LOADS.get(tag, ()) if given.get(name)]
        self.page.loads += styled(given.get("style", ""))

    def handle_data(self, data: str) -> None:
        """Note what a style sheet inside of the page fetches."""
        if self.style:
            self.page.loads += styled(data)


def styled(text: str) -> list[str]:
    """The addresses that a style sheet fetches."""
    return [first or second for first, second in STYLE_URL.findall(text)]


def read(text: str) -> Page:
    """Read one page."""
    reader = Reader()
    reader.feed(text)
    return reader.page


def is_foreign(address: str) -> bool:
    """Whether an address names another host."""
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme in {"http", "https", "ftp"}


def faults(site: Path) -> Iterator[str]:
    """Everything that is wrong with a built site, a line each."""
    pages = {path: read(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
    if not pages:
        yield f"{site}: no pages"
    for path, page in pages.items():
        name = path.relative_to(site)
        yield from (f"{name}: loads {each}" for each in page.loads if is_foreign(each))
        if page.formulas:
            yield f"{name}: {page.formulas} formulas are not MathML"
        for link in [] if name.parts[0] == EXAMPLES else [*page.links, *page.loads]:
            fault = dead(site, path, link, pages)
            if fault:
                yield f"{name}: {fault}"
    for path in sorted(site.rglob("*.css")):
        for each in styled(path.read_text("utf-8")):
            if is_foreign(each):
                yield f"{path.relative_to(site)}: loads {each}"


def dead(site: Path, path: Path, link: str, pages: dict[Path, Page]) -> str:
    """Why a link leads nowhere; empty where it does not, or leads to another host."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return ""
    target = path
    if parts.path:
        start = site if parts.path.startswith("/") else path.parent
        target = (start / unquote(parts.path).lstrip("/")).resolve()
        target = target / "index.html" if target.is_dir() else target
    if not target.is_relative_to(site.resolve()) or not target.exists():
        return f"no such file: {link}"
    found = pages.get(target)
    anchor = unquote(parts.fragment)
    if anchor and found is not None and anchor not in found.ids:
        return f"no such anchor: {link}"
    return ""


def build() -> None:
    """Build the site; a warning of mkdocs is an error."""
    command = [sys.executable, "-m", "mkdocs", "--quiet", "build", "--strict", "--clean"]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run([*command, "-d", str(SITE)], cwd=ROOT, env=environment, check=False)
    if done.returncode:
        sys.exit(f"mkdocs failed with status {done.returncode}")


def main() -> None:
    """Build and check."""
    if "--check" not in sys.argv[1:]:
        build()
    found = list(faults(SITE.resolve()))
    for line in found:
        print(line)
    if found:
        sys.exit(f"{len(found)} faults in {SITE}")
    print(f"{len(list(SITE.rglob('*.html')))} pages in {SITE.relative_to(ROOT)}, no faults")


if __name__ == "__main__":
    main()
