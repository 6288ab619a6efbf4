"""docs/derivation.md and its translation: what they name is there, their tables and numbers are the code's, and their
mathematics renders."""

import ast
import dataclasses
import math
import re
import statistics
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
from markdown_it import MarkdownIt
from matplotlib.mathtext import MathTextParser

from experiments.derivation.gradients import gradient_norms, growth_per_layer
from experiments.derivation.tables import IMAGE, RESNET_152, WORDS, cost_table, tables
from experiments.studies import experiments
from resnet_jax.config import override
from resnet_jax.models import cost
from resnet_jax.record import read_json

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "experiments" / "records" / "gradients-at-start.json"
TESTS = [ROOT / "tests" / "docs" / f"test_derivation_{part}.py" for part in ("layers", "blocks")]
PAGES = {"en": ROOT / "docs" / "derivation.md", "zh": ROOT / "docs" / "derivation.zh.md"}
TEXT = {language: path.read_text(encoding="utf-8") for language, path in PAGES.items()}
CODE = {"en": "Code: ", "zh": "代码\N{FULLWIDTH COLON}"}
ROWS = read_json(RECORD)["rows"]

BLOCK = re.compile(r"```math\n(.*?)\n```", re.DOTALL)
INLINE = re.compile(r"\$([^$\n]*)\$")
TAG = re.compile(r" \\tag\{(\d+)\}$")
REFERENCE = re.compile(r"\[`([\w.]+)`\]\(\.\./([\w./]+\.py)\)")

both = pytest.mark.parametrize("language", PAGES)


def blocks(language: str) -> list[str]:
    return BLOCK.findall(TEXT[language])


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]+`", "", BLOCK.sub("", text))


def inline(language: str) -> list[str]:
    return INLINE.findall(without_code(TEXT[language]))


def names_in(path: Path) -> set[str]:
    """Names of the functions and classes at the top of a file, and of the functions in those classes, dotted."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return names


# What is named


@both
def test_every_formula_has_a_number_a_function_and_a_test(language: str) -> None:
    count, waiting = 0, []
    for paragraph in TEXT[language].split("\n\n"):
        if paragraph.startswith("```math"):
            (number,) = TAG.findall(paragraph.removesuffix("\n```"))
            count += 1
            assert int(number) == count
            waiting.append(count)
        elif paragraph.startswith(CODE[language]):
            assert waiting, f"no formula before {paragraph!r}"
            folders = {path.split("/")[0] for _, path in REFERENCE.findall(paragraph)}
            assert folders & {"resnet_jax", "experiments"}, f"({waiting[0]}): no function"
            assert "tests" in folders, f"({waiting[0]}): no test"
            waiting = []
    assert waiting == []
    assert count == 45


@both
def test_every_name_is_that_of_a_function_in_its_file(language: str) -> None:
    references = REFERENCE.findall(TEXT[language])
    assert len(references) > 70
    wrong = [(name, path) for name, path in references if name not in names_in(ROOT / path)]
    assert wrong == []


@both
def test_every_test_of_a_formula_is_named(language: str) -> None:
    named = {name for name, _ in REFERENCE.findall(TEXT[language])}
    tests = {name for path in TESTS for name in names_in(path) if name.startswith("test_")}
    assert len(tests) > 30
    assert tests - named == set()


@both
def test_links_lead_somewhere(language: str) -> None:
    headings = re.findall(r"^## (.*)$", TEXT[language], re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\(([^)]+)\)", TEXT[language]):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        elif not target.startswith("http"):
            assert (PAGES[language].parent / target).exists(), target


# Tables and numbers


@both
def test_no_other_table_has_numbers_that_nobody_computes(language: str) -> None:
    lines = {line for table in tables(RECORD, language) for line in table.splitlines()}
    others = [line for line in TEXT[language].splitlines() if line.startswith("|") and line not in lines]
    assert len(others) == 6  # who keeps which variance
    assert {number for line in others for number in numbers(line)} == {"2015", "55545"}


def computed() -> set[str]:
    """Every number of the prose that follows from the code or from arithmetic."""
    stem = cost.layers(RESNET_152, IMAGE)[0]
    gain = math.pi / (math.pi - 1)
    pair, middle = 288 / 17, 18 / 17
    assert cost_table(WORDS["en"]).count(f"| {pair:.2f} |") == cost_table(WORDS["en"]).count(f"| {middle:.2f} |") == 1
    shaped = sum(RESNET_152.stage_blocks) - len(RESNET_152.stage_blocks)
    whole = cost.layers(RESNET_152, IMAGE)
    same = [row for row in whole if re.fullmatch(r"stage\d_block\d+/conv\d", row.name) and "block1/" not in row.name]
    bottlenecks = sum(row.multiply_adds for row in same)
    assert (len(same), shaped) == (3 * shaped, 46)
    fifty = dataclasses.replace(RESNET_152, depth=50)
    v1, v1_5 = (cost.total(dataclasses.replace(c, bottleneck_stride=s), IMAGE).multiply_adds
                for c, s in ((fifty, "1x1"), (fifty, "3x3")))  # fmt: skip
    assert round(v1 / 1e9, 2) == 3.86
    ours = dataclasses.replace(RESNET_152, bottleneck_stride="3x3")
    return {
        str(IMAGE[0]),
        str(stem.output[0]),
        f"{stem.parameters:,}",
        f"{stem.multiply_adds:,}",
        str(1 + 3 * sum(RESNET_152.stage_blocks) + 1),
        f"{cost.total(ours, IMAGE).multiply_adds:,}",
        f"{bottlenecks / 1e9:.1f}",
        f"{bottlenecks * pair / 1e9:.1f}",
        f"{v1_5 / 1e9:.1f}",
        f"{2 * v1_5 / 1e9:.1f}",
        str(4 * RESNET_152.base_width),
        f"{pair:.2f}",
        f"{gain:.3f}",
        f"{math.sqrt(gain):.3f}",
        f"{gain**2:.2f}",
        f"{math.log(10):.3f}",
        f"{0.9**220:.1e}",
        str(2 * 2 * 32),
        str(2 * 9 * 4**2),
        f"{100 * (2 * 2 * 32 / (2 * 2 * 32 - 1) - 1):.1f}",
        *measured(),
    }


def measured() -> set[str]:
    """What the text says of the record, besides the table."""

    def median(net: str, depth: int, of: Callable[[list[float]], float]) -> float:
        return statistics.median(of(row["norms"]) for row in ROWS if (row["net"], row["depth"]) == (net, depth))

    def ratio(norms: list[float]) -> float:
        return norms[1] / norms[-1]

    assert [f"{median(net, 110, ratio):.0f}" for net in ("resnet", "preact-resnet")] == ["12", "17"]
    assert min(ratio(row["norms"]) for row in ROWS) > 0.7
    cases = [("plain", 20), ("plain", 110), ("resnet", 20), ("resnet", 110)]
    return {
        f"{median('plain', 110, ratio) / 1e6:.1f}",
        *(f"{median(net, depth, growth_per_layer):.3f}" for net, depth in cases),
    }


CITED = {
    "2015", "2016", "2017", "2019", "2020",  # years
    "0.9", "0.1", "0.99", "220",  # momenta, and a run of so many steps: what is said of them is computed
    "110", "12.35", "0.5", "6.61",  # 2016, Table 1
    "3.8",  # 2015, Table 1, of 50 layers
    "15.3",  # 2015, Sec. 4.1, of VGG-16
    "1000",  # classes
    "1e-10", "1e-4", "1e-8",  # tests/parity/test_imagenet.py
    "3.3",  # a section
}  # fmt: skip


def numbers(text: str) -> set[str]:
    """Those of three digits or more, or with a decimal point or an exponent."""
    found = re.findall(r"(?<![A-Za-z0-9_.])\d[\d,]*(?:\.\d+)?(?:e-?\d+)?(?![\d])", text)
    found = [number.rstrip(",") for number in found]
    return {n for n in found if "." in n or "e" in n or len(n.replace(",", "")) > 2}


@both
def test_numbers_of_the_text_are_computed_or_cited(language: str) -> None:
    text = TEXT[language]
    mathematics = [TAG.sub("", formula) for formula in blocks(language) + inline(language)]
    in_formulas = {n for formula in mathematics for n in numbers(formula)}
    prose = INLINE.sub("", without_code(text))
    prose = re.sub(r"\[[\d.]+\]\(https://arxiv[^)]+\)", "", prose)
    prose = re.sub(r"\]\([^)]+\)", "]", prose)
    prose = "\n".join(line for line in prose.splitlines() if not line.startswith(("|", "#")))
    assert (numbers(prose) | in_formulas) - computed() - CITED == set()
    assert computed() - numbers(prose) - in_formulas == set(), "computed, but no longer in the text"


def test_cost_of_a_bottleneck() -> None:
    """By hand for w = 64: weights of the convolutions, and the same cost in every stage."""
    weights = {17 * 64**2: (1 * 256 * 64 + 9 * 64 * 64 + 1 * 64 * 256), 288 * 64**2: 2 * 9 * 256 * 256}
    weights[18 * 64**2] = 2 * 9 * 64 * 64
    table = cost_table(WORDS["en"])
    for formula, by_hand in weights.items():
        assert formula == by_hand
        assert f"| {by_hand:,} | {by_hand * 56 * 56:,} |" in table
    rows = cost.layers(RESNET_152, IMAGE)
    for stage in range(1, 5):
        convs = [row for row in rows if row.name.startswith(f"stage{stage}_block2/conv")]
        assert sum(row.multiply_adds for row in convs) == 17 * 64**2 * 56**2


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("shortcut", ["none", "A"])
def test_recorded_gradients_are_measured_again(shortcut: str) -> None:
    changes = {"model.shortcut": shortcut, "model.depth": 8, "model.dtype": "float64"}
    config = override(experiments()["digits-resnet"], changes)
    (recorded,) = [row for row in ROWS if (row["net"], row["depth"], row["seed"]) == (config.model.net, 8, 0)]
    (norms,) = gradient_norms(config, seeds=[0])
    # In eight layers no ReLU has an input within rounding of zero; sums in another order differ by 1e-15.
    np.testing.assert_allclose(norms, recorded["norms"], rtol=1e-8)


def test_growth_per_layer() -> None:
    assert growth_per_layer([9.0, 8.0, 5.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]) == pytest.approx(2.0)


# Mathematics


def test_the_translation_has_the_same_formulas() -> None:
    assert blocks("en") == blocks("zh")


@both
def test_formulas_of_a_line_keep_to_what_all_forges_read(language: str) -> None:
    text = without_code(TEXT[language])
    assert len(inline(language)) > 100
    for match in INLINE.finditer(text):
        where, formula = match.group(), match.group(1)
        assert text[match.start() - 1] in " \n(", f"before {where}"
        assert text[match.end()] in " \n.,;:)", f"after {where}"
        assert formula == formula.strip() != "", where
        assert not re.search(r"[*|<>&~#%]|\\[^a-zA-Z]", formula), where
    assert text.count("$") == 2 * len(inline(language))
    for formula in blocks(language):
        assert not re.search(r"[$<>&#%]|\\\\", formula), formula


@both
def test_markdown_leaves_formulas_alone(language: str) -> None:
    """As a parser sees the page that knows nothing of dollars."""
    seen: list[str] = []
    fences: list[str] = []
    for token in MarkdownIt("commonmark").enable("table").parse(TEXT[language]):
        if token.type == "fence" and token.info == "math":
            fences.append(token.content.removesuffix("\n"))
        if token.type == "inline":
            parts = (t.content if t.type == "text" else "\n" for t in token.children or ())
            seen += INLINE.findall("".join(parts))
    assert fences == blocks(language)
    assert seen == inline(language)


def test_formulas_parse() -> None:
    parser = MathTextParser("path")
    allowed = r"\\operatorname|\\begin|\\end|\\def|\\newcommand|\\text\b|\\require|\\label"
    for language in PAGES:
        for formula in {*blocks(language), *inline(language)}:
            assert not re.search(allowed, formula), formula
            # The one spelling that matplotlib lacks; < itself would start a tag for some readers of Markdown.
            parser.parse(f"${TAG.sub('', formula)}$".replace(r"\lt", "<").replace(r"\gt", ">"))


def test_nothing_of_jax_in_the_reference() -> None:
    """What checks the code in NumPy must not be the code."""
    text = (ROOT / "tests" / "docs" / "reference.py").read_text(encoding="utf-8")
    modules = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name if isinstance(node, ast.Import) else node.module for node in modules for alias in node.names}
    assert names == {"collections.abc", "typing", "numpy"}
    assert jax.__name__ not in names
