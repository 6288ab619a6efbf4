"""Renders formulas as MathML when the site is built. A browser draws them without a script and without the network.

The documents write a formula inside a line as `$...$`, and a separate formula as a fenced block named `math`. Code
hosts render the same notation.
"""

import html
import re
from typing import Any
from xml.etree.ElementTree import Element

import markdown
from latex2mathml.converter import convert
from markdown.inlinepatterns import InlineProcessor

NUMBER = re.compile(r"\\tag\{([^}]*)\}")


def inline(formula: str) -> str:
    """Renders a formula inside a line as MathML."""
    return str(convert(formula.strip()))


def display(source: str, *_: Any, **__: Any) -> str:
    """Renders a separate formula as HTML, with its number (LaTeX's `tag`) at the right margin."""
    number = NUMBER.search(source)
    formula = convert(NUMBER.sub("", source).strip(), display="block")
    label = f'<span class="number">({html.escape(number[1])})</span>' if number else ""
    return f'<div class="formula">{formula}{label}</div>'


class _Inline(InlineProcessor):
    def handleMatch(self, m: re.Match[str], data: str) -> tuple[Element | str, int, int]:
        return self.md.htmlStash.store(inline(m.group(1))), m.start(0), m.end(0)


class Formulas(markdown.Extension):
    """The Python-Markdown extension for formulas inside a line."""

    def extendMarkdown(self, md: markdown.Markdown) -> None:
        """Registers the pattern of formulas. It is applied after the pattern of code, but before those of escapes and
        emphasis.
        """
        md.inlinePatterns.register(_Inline(r"(?<![\\$])\$([^$\n]+)\$(?!\$)", md), "formulas", 185)
