"""Reads the fields of dataclasses from their source: name, type, default, and the text below the field."""

import ast
import inspect
import textwrap
from dataclasses import dataclass

from experiments.printed import markdown


@dataclass(frozen=True)
class Field:
    """A field of a dataclass, read from its source."""

    name: str
    type: str
    text: str
    """The string below the field as one line; empty if there is none."""


def fields_of(cls: type) -> list[Field]:
    """The fields that a class declares, in order, without inherited ones."""
    (found,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(found, ast.ClassDef)
    fields: list[Field] = []
    for node, following in zip(found.body, [*found.body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or "ClassVar" in ast.unparse(node.annotation):
            continue
        assert isinstance(node.target, ast.Name)
        fields.append(Field(node.target.id, ast.unparse(node.annotation).replace("'", '"'), _text(following)))
    return fields


def table(header: list[str], rows: list[list[str]]) -> str:
    """Renders a Markdown table of text cells."""
    return markdown(header, [[cell.replace("|", "\\|") for cell in row] for row in rows])


def one_line(text: str | None) -> str:
    """Joins the lines of a docstring into one line of Markdown."""
    return " ".join((text or "").split())


def _text(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return one_line(node.value.value)
    return ""
