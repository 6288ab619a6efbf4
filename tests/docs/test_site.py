"""What the documentation site is made of: tables of fields, formulas, links, and the reference pages."""

import dataclasses
import re
from pathlib import PurePosixPath
from xml.etree import ElementTree

import markdown
import pytest

import resnet_jax
from experiments.site import linked, reference
from experiments.site.fields import Field, fields_of, table
from experiments.site.formulas import Formulas, display
from resnet_jax.config import ExperimentConfig
from tests.docs.test_documents import ROOT


@dataclasses.dataclass
class Example:
    """A class to read."""

    plain: int
    """In two
    lines."""
    bare: str | None = None


def test_fields_are_read_with_their_texts() -> None:
    assert fields_of(Example) == [Field("plain", "int", "In two lines."), Field("bare", "str | None", "")]


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert table(["a"], [["x | y"]]).splitlines()[-1] == "| x \\| y |"


SECTIONS = dict(reference.sections(ExperimentConfig))


@pytest.mark.parametrize("name", SECTIONS)
def test_every_field_of_the_configuration_is_listed(name: str) -> None:
    rows = re.findall(rf"^\| `{name}\.(\w+)` \|", reference.configuration(), re.MULTILINE)
    declared = {field.name for field in dataclasses.fields(SECTIONS[name])}
    assert set(rows) == declared - {section.rpartition(".")[2] for section in SECTIONS if "." in section}


def test_every_public_name_has_a_place_on_the_python_page() -> None:
    listed = re.findall(r"^::: resnet_jax\.(\w+)$", reference.python(), re.MULTILINE)
    assert sorted(listed) == sorted(resnet_jax.__all__)


def test_every_field_of_a_record_is_listed() -> None:
    text = reference.records()
    for part in reference.RECORD_PARTS:
        for field in dataclasses.fields(part):
            assert f"| `{field.name}` |" in text


def test_a_formula_in_a_line_keeps_its_underscores_and_code_its_dollars() -> None:
    html = markdown.markdown("*a* $x_{n} y_{m}$ and `$HOME $PATH`", extensions=[Formulas()])
    assert html.count("<msub>") == 2
    assert "<code>$HOME $PATH</code>" in html


def test_a_formula_of_its_own_has_its_number_beside_it() -> None:
    html = ElementTree.fromstring(display(r"y = \frac{a}{b} \tag{7}"))
    formula, number = html
    assert formula.get("display") == "block"
    assert number.text == "(7)"
    assert "tag" not in "".join(formula.itertext())


def test_links_that_leave_the_documents_lead_to_pages_of_their_own() -> None:
    page = PurePosixPath("tutorials/a.md")
    text, targets = linked.redirected(page, "[a](../../setup.cfg#x) [b](../results.md) [c](https://x.org) [d](#here)")
    assert text == "[a](../source/setup.cfg.md#x) [b](../results.md) [c](https://x.org) [d](#here)"
    assert targets == {PurePosixPath("setup.cfg")}
    assert "[metadata]" in linked.content(PurePosixPath("setup.cfg"), ROOT)
    assert "- `digits.py`" in linked.content(PurePosixPath("experiments/studies"), ROOT)
