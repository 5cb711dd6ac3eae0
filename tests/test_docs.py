"""The pages of docs/ name what there is, their links lead somewhere; the check of a site works."""

import re
import shlex
from pathlib import Path

import pytest

import onnxlrp
from onnxlrp.attributors.registry import ATTRIBUTORS
from onnxlrp.composites.presets import PRESETS
from onnxlrp.rules import RULES
from tools import docs_site

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
LINK = re.compile(r"\]\(([^)\s]+)\)")


def text(page: str) -> str:
    return (DOCS / page).read_text()


def test_methods_page_names_every_method_and_rule() -> None:
    page = text("methods.md")
    names = ["auto", *(preset.name for preset in PRESETS), *(item.name for item in ATTRIBUTORS)]
    assert [name for name in names if f"| `{name}` |" not in page] == []
    assert [rule.__name__ for rule in RULES if rule.__name__ not in page] == []


def test_every_public_name_is_in_the_reference() -> None:
    pages = "".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
    documented = set(re.findall(r"^::: onnxlrp\.([\w.]+)$", pages, re.M))
    names = {name: home for name, home in onnxlrp.HOMES.items() if home not in documented}
    ends = {(name.split(".")[0], name.split(".")[-1]) for name in documented}
    assert [name for name, home in names.items() if (home.split(".")[0], name) not in ends] == []


def test_every_page_is_in_the_navigation() -> None:
    given = re.findall(r": ([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M)
    assert sorted(given) == [str(page.relative_to(DOCS)) for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_links_lead_to_files(page: Path) -> None:
    links = [link.partition("#")[0] for link in LINK.findall(page.read_text())]
    here = [link for link in links if link and "://" not in link]
    assert [link for link in here if not (page.parent / link).exists()] == []


def test_gallery_pictures_have_their_commands() -> None:
    page = text("gallery.md").replace("\\\n", " ")
    commands = [shlex.split(line) for line in page.splitlines() if line.startswith("onnxlrp ")]
    written = {word for words in commands for word in words if word.startswith("docs/img/")}
    shown = {f"docs/{link}" for link in LINK.findall(page) if link.startswith("img/gallery")}
    assert written == shown
    assert {str(path.relative_to(ROOT)) for path in DOCS.glob("img/gallery*.png")} == shown


HEAD = "<html><head></head><body>"
SOUND = {
    "index.html": f'{HEAD}<h1 id="a">a</h1><a href="b.html#x">b</a><a href="https://x.org">x</a>'
    '<img src="data:image/png;base64,AA">',
    "b.html": f'{HEAD}<p id="x">x</p><a href="index.html#a">a</a>',
}
BROKEN = {
    '<script src="https://cdn.x.org/a.js"></script>': "loads https://cdn.x.org/a.js",
    '<link rel="stylesheet" href="//x.org/a.css">': "loads //x.org/a.css",
    '<img src="http://x.org/a.png">': "loads http://x.org/a.png",
    '<p style="background: url(https://x.org/a.png)">': "loads https://x.org/a.png",
    "<style>@import 'https://x.org/a.css'</style>": "loads https://x.org/a.css",
    '<a href="gone.html">': "no such file: gone.html",
    '<a href="b.html#gone">': "no such anchor: b.html#gone",
    '<a href="#gone">': "no such anchor: #gone",
    '<a href="../outside.html">': "no such file: ../outside.html",
    '<span class="arithmatex">x</span>': "1 formulas are not MathML",
}


def site(folder: Path, more: str = "") -> Path:
    for name, page in SOUND.items():
        (folder / name).write_text(page + more * (name == "index.html"))
    return folder


def test_a_sound_site_has_no_faults(tmp_path: Path) -> None:
    assert list(docs_site.faults(site(tmp_path))) == []


@pytest.mark.parametrize("more", BROKEN)
def test_faults_of_a_site_are_found(tmp_path: Path, more: str) -> None:
    assert list(docs_site.faults(site(tmp_path, more))) == [f"index.html: {BROKEN[more]}"]


def test_faults_of_a_style_sheet_are_found(tmp_path: Path) -> None:
    site(tmp_path)
    (tmp_path / "a.css").write_text("p { background: url('https://x.org/a.png') }")
    assert list(docs_site.faults(tmp_path)) == ["a.css: loads https://x.org/a.png"]


def test_no_site_is_a_fault(tmp_path: Path) -> None:
    assert list(docs_site.faults(tmp_path)) == [f"{tmp_path}: no pages"]


def test_formulas_become_mathml() -> None:
    for name in ("latex2mathml", "markdown", "pymdownx"):
        pytest.importorskip(name, reason="SKIPPED: needs the extra docs")
    from markdown import markdown

    settings = {"pymdownx.arithmatex": {"generic": True}}
    extensions = ["pymdownx.arithmatex", "tools.docs_math"]
    page = markdown(
        r"a $\lvert x \rvert < 1$ b" + "\n\n$$\nx\n$$\n",
        extensions=extensions,
        extension_configs=settings,
    )
    assert page.startswith('<p>a <span class="formula"><math')
    assert "arithmatex" not in page
    assert page.count("<mo stretchy") == 2
    assert "&#x0003C;" in page
    assert page.count('display="block"') == 1
