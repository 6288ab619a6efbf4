"""Tables and numbers of the documents are what the code and the records say, and a change of either is noticed."""

import json
import re
import statistics
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from experiments import documents, passages
from experiments.passages import numbers, tables
from experiments.passages.records import RECORDS
from resnet_jax.errors import UserError

ROOT = Path(__file__).parents[2]


def test_no_passage_is_stale() -> None:
    # Those of mistakes.md, which takes long to make, are looked at in tests/experiments/test_mistakes.py.
    pages = [page for page in documents.pages(ROOT) if page.name != "mistakes.md"]
    stale = [line for page in pages for line in passages.stale(page.read_text(encoding="utf-8"), page.name)]
    assert not stale, "\n".join([*stale, f"to renew them: {documents.RENEW}"])


def test_every_kind_of_passage_is_of_use() -> None:
    found = [
        passage for page in documents.pages(ROOT) for passage in passages.PASSAGE.finditer(page.read_text("utf-8"))
    ]
    assert {passage["what"].split()[0] for passage in found} == passages.KINDS.keys()


@pytest.mark.parametrize("page", documents.pages(ROOT), ids=lambda page: page.name)
def test_no_marker_is_seen(page: Path) -> None:
    """Markdown takes every marker for a comment: inside a sentence, or on lines of its own around a table."""
    html = MarkdownIt().enable("table").render(page.read_text(encoding="utf-8"))
    assert "begin: " not in re.sub(r"<!--.*?-->", "", html)
    for found in passages.PASSAGE.finditer(html):
        assert found["text"].startswith("\n") or "\n\n" not in found["text"], found["what"]
        assert not found["text"].startswith("\n|"), f"{found['what']}: no table"


def test_a_changed_number_is_named_and_renewed() -> None:
    page = "It rises to <!-- begin: mean-error digits-depth/plain-56 -->1.00<!-- end --> %."
    (line,) = passages.stale(page, "page.md")
    assert "mean-error digits-depth/plain-56" in line
    assert "'1.00'" in line
    new = passages.renewed(page, "page.md")
    assert new.startswith("It rises to <!-- begin: mean-error digits-depth/plain-56 -->")
    assert list(passages.stale(new, "page.md")) == []


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("a <!-- begin: mean-eror digits-depth/plain-56 -->1<!-- end -->", "'mean-error'"),
        ("a <!-- begin: mean-error digits-depth/plain-57 -->1<!-- end -->", "digits-depth/plain-57"),
        ("a <!-- begin: mean-error -->1<!-- end -->", "mean-error"),
        ("a <!-- begin: mean-error digits-depth/plain-56 validation -->1<!-- end -->", "train, test"),
        ("a <!-- begin: mean-error digits-depth/plain-56 -->1", "is missing"),
        ("a\n<!-- begin: mean-error digits-depth/plain-56 -->1<!-- end -->", "begin a line"),
    ],
)
def test_a_wrong_marker_is_named(page: str, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        passages.renewed(page, "page.md")


def raw(run: str, key: str = "train_error") -> list[float]:
    """Errors of a run in per cent by seed, straight from the files."""
    files = sorted(RECORDS.glob(f"{run}-seed*/record.json"))
    return [100 * json.loads(file.read_text())["final"][key] for file in files]


def test_numbers_by_hand() -> None:
    plain, shallow = raw("digits-depth/plain-56"), raw("digits-depth/plain-20")
    assert len(plain) == 5
    mean, deviation = statistics.fmean(plain), statistics.stdev(plain)
    assert numbers.error("digits-depth/plain-56") == f"{mean:.2f} ± {deviation:.2f}"
    pairs = [a - b for a, b in zip(plain, shallow, strict=True)]
    assert numbers.apart("digits-depth/plain-56", "digits-depth/plain-20") == f"{statistics.fmean(pairs):.2f}"
    assert numbers.apart("digits-depth/plain-20", "digits-depth/plain-56") == f"{statistics.fmean(pairs):.2f}"
    half = 2.776445 * statistics.stdev(pairs) / 5**0.5  # Student's t, 4 degrees of freedom
    low, high = map(
        float, numbers.interval("digits-depth/plain-56", "digits-depth/plain-20", "train", "3").split(" to ")
    )
    assert [low, high] == pytest.approx([statistics.fmean(pairs) - half, statistics.fmean(pairs) + half], abs=1e-3)
    two = [a - b for a, b in zip(raw("cifar10-depth-small/plain-56"), raw("cifar10-depth-small/plain-20"), strict=True)]
    assert numbers.apart("cifar10-depth-small/plain-56", "cifar10-depth-small/plain-20") == "{:.2f} and {:.2f}".format(
        *two
    )


def test_a_line_of_a_table_by_hand() -> None:
    errors = raw("digits-depth/plain-56"), raw("digits-depth/plain-56", "test_error")
    cells = " | ".join(f"{statistics.fmean(of):.2f} ± {statistics.stdev(of):.2f}" for of in errors)
    assert tables.nets("digits-depth/plain-56").splitlines()[-1] == f"| plain-56 | 240 | 0.05 | 5 | {cells} |"
    assert f"| 56 | plain | 5 | {cells.split(' | ')[0]} |" in tables.report("digits-depth", "digits-depth-long")
