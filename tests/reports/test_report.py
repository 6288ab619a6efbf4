"""The report as a whole: its files, its page, its command."""

import base64
import dataclasses
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest

from experiments.report import main
from resnet_jax.errors import UserError
from resnet_jax.reports.report import write_report
from resnet_jax.reports.runs import read_runs
from tests.reports.factory import DIGITS, write_run, write_study

VOID = {"meta", "img", "br"}
FIGURES = ("error-against-depth", "training-curves", "error-against-budget")


class Page(HTMLParser):
    """Checks that every tag is closed in order, and collects sources, links and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == [], "tags left open"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    write_study(tmp_path / "runs")
    return tmp_path / "runs"


def test_every_file_is_there_and_the_page_stands_alone(study: Path, tmp_path: Path) -> None:
    report = write_report(read_runs([study]), tmp_path / "out")
    names = {path.name for path in report.files}
    assert names == {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"report.html", "report.md", "table.md", "table.csv", "runs.csv"} | {
        f"{figure}.{suffix}" for figure in FIGURES for suffix in ("png", "svg")
    }
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not {"link", "iframe"} & set(page.tags)
    pictures = [source for source in page.sources if source.startswith("data:")]
    assert len(pictures) == len(FIGURES)
    for source, figure in zip(pictures, FIGURES, strict=True):
        kind, data = source.split(",", 1)
        assert kind == "data:image/svg+xml;base64"
        inline = base64.b64decode(data)
        assert inline == (tmp_path / "out" / f"{figure}.svg").read_bytes()
        ET.fromstring(inline)
    # A name space is no address that anything is fetched from.
    assert "http" not in re.sub(r'src="data:[^"]*"', "", text).replace("http://www.w3.org/2000/svg", "")
    links = [source for source in page.sources if not source.startswith("data:")]
    assert links
    assert all((tmp_path / "out" / link).resolve().exists() for link in links)
    assert "url(" not in text
    assert "@import" not in text


def test_the_page_says_answer_control_twins_method_and_environment(study: Path, tmp_path: Path) -> None:
    write_run(study, "plain", 56, 3, None)
    write_run(study, "plain", 56, 4, finished=False)
    damaged = write_run(study, "plain", 56, 5) / "record.json"
    damaged.write_text(damaged.read_text()[:100])
    write_report(read_runs([study]), tmp_path / "out")
    text = Page((tmp_path / "out" / "report.html").read_text()).text
    for words in (
        "Degradation versus depth: digits",
        "plain nets degrade from 20 to 56 layers",
        "57.00 ± 5.00; diverged (1 of 4)",
        "Part of the gap was slow optimisation",
        "3 of 3",  # seeds with equal initial values
        "never of the best epoch on the test set",
        DIGITS.fingerprint,
        "0.1.0 (abc1234)",
        "digits-depth/plain-56-it240-rate0.1-seed3: diverged at step 97.",
        "digits-depth/plain-56-it240-rate0.1-seed4: unfinished, 96 of 240 iterations done",
        f"{damaged}: damaged or half-written",
    ):
        assert words in text.replace("\N{NO-BREAK SPACE}", " "), words
    assert "Table 6" not in text


def test_what_comes_from_records_is_escaped(tmp_path: Path) -> None:
    evil = '<script>alert("x")</script> & | `'
    write_run(tmp_path / "runs", run="<b>&run", data=dataclasses.replace(DIGITS, name=evil))
    write_report(read_runs([tmp_path / "runs"]), tmp_path / "out")
    page = Page((tmp_path / "out" / "report.html").read_text())
    assert "b" not in page.tags
    assert "alert" not in "".join(
        re.findall(r"<script.*?</script>", (tmp_path / "out" / "report.html").read_text(), re.S)
    )
    assert evil in page.text
    assert "<script>" not in (tmp_path / "out" / "report.md").read_text().replace("\\<", "")


def test_rebuilding_gives_the_same_bytes(study: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_report(read_runs([study]), tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_two_data_sets_make_two_comparisons_with_figures_of_their_own(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", "plain", 20)
    write_run(tmp_path / "runs", "plain", 56)
    other = dataclasses.replace(DIGITS, name="letters", fingerprint="f" * 16)
    write_run(tmp_path / "runs", "plain", 20, study="letters", data=other)
    report = write_report(read_runs([tmp_path / "runs"]), tmp_path / "out")
    assert len(report.views) == 2
    assert {"training-curves.png", "training-curves-2.png"} <= {path.name for path in report.files}
    assert "Comparison 2" in Page((tmp_path / "out" / "report.html").read_text()).text
    assert "on 2 data sets (digits, letters)" in report.apart
    assert "each data set has a comparison of its own" in report.apart


def test_studies_that_differ_in_more_than_net_and_budget_are_said_to_be_compared_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for study, changes in (("a", {}), ("b", {"optim.weight_decay": 0.01})):
        for depth in (8, 20):
            write_run(tmp_path, "plain", depth, study=study, changes=changes)
    assert main([str(tmp_path)]) == 0
    sentence = "differ only in the net, the number of iterations and the learning rate"
    assert sentence in " ".join(capsys.readouterr().out.split())
    assert sentence in Page((tmp_path / "report" / "report.html").read_text()).text
    # The same with another rate is one comparison: its control.
    for depth in (8, 20):
        write_run(tmp_path / "rates", "plain", depth, study="c", rate=0.01)
    assert write_report(read_runs([tmp_path / "a", tmp_path / "rates"]), tmp_path / "out").apart == ""


def test_unfinished_runs_alone_are_no_report(tmp_path: Path) -> None:
    write_run(tmp_path, finished=False)
    with pytest.raises(UserError, match=r"a report needs .* record\.json; found none: 1 run unfinished"):
        write_report(read_runs([tmp_path]), tmp_path / "out")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    write_run(tmp_path / "runs")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/out: the report cannot be written \(Not a directory\)"):
        write_report(read_runs([tmp_path / "runs"]), tmp_path / "file" / "out")


def test_command_writes_into_the_study_and_prints_table_and_paths(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(study / "digits-depth"), str(study / "digits-depth-long")]
    assert main(arguments) == 0
    first = capsys.readouterr().out
    report = study / "digits-depth" / "report"
    assert "57.00 ± 5.00" in first
    assert str(report / "report.html") in first
    # The report itself is no run, so a second call finds the same.
    before = (report / "report.html").read_bytes()
    assert main(arguments) == 0
    assert (report / "report.html").read_bytes() == before


@pytest.mark.parametrize("width", [72, 80, 90, 100, 120])
def test_a_table_that_the_screen_cannot_hold_loses_columns_and_no_line_its_end(
    width: int, study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for changes in ({}, {"model.width": 8}, {"model.width": 32}):
        write_run(study / "widths", "resnet", 20, study="widths", run=f"w{changes}", changes=changes)
    assert main([str(study / "widths")]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line[:1] in "┏┃┡│└"]
    assert {line[-1] for line in rows if line} == set("┓┃┩│┘")
    assert max(map(len, rows)) <= width


def test_command_takes_another_folder(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(study), "--out", str(tmp_path / "elsewhere")]) == 0
    assert (tmp_path / "elsewhere" / "report.html").exists()
    assert not (study / "report").exists()
    capsys.readouterr()


def test_command_without_a_directory_says_what_is_missing() -> None:
    with pytest.raises(UserError, match="directories: none given"):
        main([])


def test_results_never_import_jax() -> None:
    code = (
        "import sys, resnet_jax.reports.report, experiments.report\n"
        "sys.exit(sorted(m for m in sys.modules if m.split('.')[0] in ('jax', 'jaxlib', 'flax', 'optax')) or 0)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=root, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
