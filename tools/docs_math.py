"""Turns the formulas of the docs into MathML while the site is built: no script, no font to load.

An extension of Python-Markdown. Pages write `$...$` and `$$...$$`, as GitHub reads them.
"""

import html
import re

from latex2mathml.converter import convert
from markdown import Extension, Markdown
from markdown.postprocessors import Postprocessor

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
"""What the extension `pymdownx.arithmatex` makes of a formula in its generic form."""

BAR = "<mo>&#x0007C;</mo>"
"""A bar of an absolute value; browsers would set it like a relation, with space around it."""


class Formulas(Postprocessor):
    """Replaces the formulas of one page."""

    def run(self, text: str) -> str:
        """Return the page with MathML."""
        return FORMULA.sub(_mathml, text)


def _mathml(found: re.Match[str]) -> str:
    tag, opening, text = found.groups()
    block = opening == "["
    formula = convert(html.unescape(text).strip(), display="block" if block else "inline")
    formula = formula.replace(BAR, '<mo stretchy="false" lspace="0" rspace="0">|</mo>')
    return f'<{tag} class="formula">{formula}</{tag}>'


class MathML(Extension):
    """Registers the replacement behind all others."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 - the name of Python-Markdown
        """Register it."""
        md.postprocessors.register(Formulas(md), "mathml", -10)


def makeExtension(**settings: object) -> MathML:  # noqa: N802 - the name of Python-Markdown
    """Make the extension that mkdocs.yml names."""
    return MathML(**settings)
