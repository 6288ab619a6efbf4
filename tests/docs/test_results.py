"""The committed tables follow from the committed records."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path

import pytest

from resnet_jax.record import Final, read_record
from resnet_jax.results.report import write_report
from resnet_jax.results.runs import read_runs

DOCS = Path(__file__).parents[2] / "docs"


MAKEFILE = (DOCS.parent / "Makefile").read_text()
# What `make figures` rebuilds from which records.
REPORTS = {
    out: tuple(path.name for word in studies.split() for path in sorted(DOCS.parent.glob(word)))
    for studies, out in re.findall(r"-m experiments\.report (docs/records/.*) --out docs/(\S+)", MAKEFILE)
}


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {}
    for name, studies in REPORTS.items():
        folders[name] = tmp_path_factory.mktemp(name)
        write_report(read_runs([DOCS / "records" / study for study in studies]), folders[name])
    return folders


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("name", ["table.md", "table.csv", "runs.csv"])
def test_tables_are_those_of_the_records(rebuilt: dict[str, Path], report: str, name: str) -> None:
    assert (DOCS / report / name).read_text() == (rebuilt[report] / name).read_text()


def test_one_command_rebuilds_every_figure_of_readme_and_results(rebuilt: dict[str, Path]) -> None:
    shown = []
    for page, prefix in (("README.md", "docs/"), ("docs/results.md", ""), ("docs/analysis.md", "")):
        found = re.findall(r"!\[[^]]*\]\(([^)]+)\)", (DOCS.parent / page).read_text())
        assert found
        shown += [Path(picture.removeprefix(prefix)) for picture in found]
    for picture in shown:
        folder, name = picture.parts
        if folder == "analysis":  # tests/docs/test_analysis.py: from the measurement beside it
            assert "experiments.analyze figures docs/analysis/*.json" in MAKEFILE
        else:
            assert (rebuilt[folder] / name).exists(), picture


def test_every_measured_value_in_the_text_is_in_the_report(rebuilt: dict[str, Path]) -> None:
    """Each "mean ± deviation" of the studies' parts of results.md, as the report of each states it."""
    text = (DOCS / "results.md").read_text().split("## Other sources")[0]
    parts = dict(zip(STUDIES, re.split(PARTS, text), strict=True))
    for names, part in parts.items():
        reports = "".join((rebuilt[name] / "report.md").read_text() for name in names)
        values = set(re.findall(r"\d+\.\d\d ± \d+\.\d\d", part))
        assert len(values) > 5, names
        assert [value for value in values if value not in reports] == [], names


def test_the_values_at_the_head_of_the_readme_are_those_of_the_reports(rebuilt: dict[str, Path]) -> None:
    head = (DOCS.parent / "README.md").read_text().split("## Two commands")[0]
    reports = "".join((rebuilt[name] / "report.md").read_text() for name in ("digits", *CIFAR10))
    rounded = {
        tuple(f"{float(number):.1f}" for number in pair) for pair in re.findall(r"(\d+\.\d\d) ± (\d+\.\d\d)", reports)
    }
    values = re.findall(r"(\d+\.\d) ± (\d+\.\d)", head)
    assert len(values) >= 6
    assert set(values) <= rounded


CIFAR10 = ("cifar10-depth-small-images", "cifar10-depth-small")
# Headings in results.md, with which the part of a study begins, and the reports that each part is about.
STUDIES = (("digits",), CIFAR10, ("digits-shortcuts",), ("digits-activations",))
PARTS = "## Degradation on natural images|## Shortcuts, taken apart|## Orders of activations"


def test_cifar10_at_16x16_says_what_its_records_say() -> None:
    text = " ".join((DOCS / "results.md").read_text().split("## Degradation on natural images")[1].split())
    records = [read_record(f) for f in sorted((DOCS / "records").glob("cifar10-depth-small*/*/record.json"))]
    errors: dict[tuple[str, int, int], dict[int, float]] = {}
    for record in records:
        c = record.config
        assert record.final is not None
        if (c.optim.learning_rate, c.optim.warmup, c.data.train_subset) == (0.1, "none", 5_000):
            cell = errors.setdefault((c.model.net, c.model.depth, c.train.iterations), {})
            cell[c.seed] = 100.0 * record.final.train_error
    gaps = {
        net: [errors[net, 56, 3200][seed] - errors[net, 20, 3200][seed] for seed in (0, 1)]
        for net in ("plain", "resnet")
    }
    assert f"rises by {statistics.fmean(gaps['plain']):.1f} points" in text
    # The table, and with it the figures beside it, are those of the whole budget.
    deepest = [errors["plain", 56, 3200][seed] for seed in (0, 1)]
    assert f"| 56 | plain | 2 | {statistics.fmean(deepest):.2f} ± {statistics.stdev(deepest):.2f} |" in text
    assert "rises by {:.1f} points with one seed and {:.1f} with the other".format(*gaps["resnet"]) in text
    twins = [errors["plain", 56, 3200][seed] - errors["resnet", 56, 3200][seed] for seed in (0, 1)]
    assert f"ResNet-56 lies {statistics.fmean(twins):.1f} points below plain-56" in text
    # Interrupted on the way, at least three times, and each of those runs is whole.
    interrupted = [record for record in records if len(record.sittings) > 1]
    assert len(interrupted) >= 3
    assert f"{len(interrupted)} of the runs were interrupted" in text
    hours = sum(record.cost.total_s for record in records) / 3600
    assert f"{len(records)} runs took {hours:.1f} hours of a core" in text


def test_residual_nets_fit_a_thousand_images_at_any_depth_and_plain_nets_do_not() -> None:
    text = " ".join((DOCS / "results.md").read_text().split("### 1,000 images")[1].split("### 5,000 images")[0].split())
    errors: dict[tuple[str, int], dict[int, float]] = {}
    for file in sorted((DOCS / "records" / CIFAR10[0]).glob("*/record.json")):
        record = read_record(file)
        assert record.final is not None
        assert record.final.train_examples == 1_000
        model = record.config.model
        errors.setdefault((model.net, model.depth), {})[record.config.seed] = 100.0 * record.final.train_error
    seeds = errors["resnet", 56].keys()
    assert len(seeds) >= 2
    assert all(by_seed.keys() == seeds for by_seed in errors.values())
    # By the text's words, with each seed and not only in the mean.
    for seed in seeds:
        assert errors["plain", 56][seed] > errors["plain", 20][seed] + 10.0
        assert max(errors["resnet", depth][seed] for depth in (20, 56)) < 1.0
    for left, right, words in (
        (("plain", 56), ("plain", 20), "of the plain net rises by {:.1f} points"),
        (("plain", 56), ("resnet", 56), "the residual net is {:.1f} points below the plain one"),
    ):
        assert words.format(statistics.fmean(errors[left][s] - errors[right][s] for s in seeds)) in text


def test_the_other_sources_errors_are_those_of_their_records() -> None:
    text = (DOCS / "results.md").read_text()
    records = [read_record(file) for file in sorted((DOCS / "records" / "sources").glob("*/record.json"))]
    assert len(records) == 2
    for record in records:
        assert record.final is not None
        assert f"| {record.final.train_error:.2%} | {record.final.test_error:.2%} |".replace("%", "") in text


def test_recomputed_statistics_change_what_the_text_says() -> None:
    text = (DOCS / "results.md").read_text()
    rows = json.loads((DOCS / "records" / "recomputed.json").read_text())["rows"]
    changes: dict[str, list[float]] = {"train_error": [], "test_error": []}
    for row in rows:
        pairs = [(row[split]["running"], row[split]["recomputed"]) for split in changes]
        assert f"| {row['run']} | " + " | ".join(f"{100 * e:.2f}" for pair in pairs for e in pair) + " |" in text
        for split, (before, after) in zip(changes, pairs, strict=True):
            changes[split].append(abs(after - before))
    largest = [f"{100 * max(values):.1f}" for values in changes.values()]
    assert f"by {largest[0]} points of training error and {largest[1]} of test error at most" in text


def test_parallel_modes_agree_as_the_table_says() -> None:
    """Each cell: the worst of the three modes after ten steps."""
    text = (DOCS / "results.md").read_text()
    rows = json.loads((DOCS / "records" / "equivalence.json").read_text())["rows"]
    worst: dict[tuple[str, str, str], dict[int, float]] = {}
    for row in rows:
        cells = worst.setdefault((row["net"], row["dtype"], row["scope"]), {})
        cells[row["devices"]] = max(cells.get(row["devices"], 0.0), row["drift"][-1])
    assert len(rows) == 2 * 2 * 3 * 3 * 3
    for (net, dtype, scope), cells in worst.items():
        assert list(cells) == [1, 2, 8]
        assert f"| {net} | {dtype} | {scope} | " + " | ".join(f"{d:.0e}" for d in cells.values()) + " |" in text
        assert dtype == "float32" or max(cells.values()) < 1e-11


# A row of the table for each variant of the study.
FINETUNED = {
    "resnet-20": "the file's, fine-tuned whole",
    "resnet-20-frozen_stages=3": "the file's, only the last layer trained",
    "resnet-20-weights=None-normalize=channel_mean_std-learning_rate=0.1": "random values, rate 0.1",
    "resnet-20-weights=None-normalize=channel_mean_std": "random values, rate 0.01",
}


def test_fine_tuning_gains_what_its_records_say() -> None:
    text = (DOCS / "results.md").read_text()
    records = [read_record(file) for file in sorted((DOCS / "records" / "finetune-small").glob("*/record.json"))]
    by_variant: dict[str, dict[int, Final]] = {}
    for record in records:
        assert record.final is not None
        by_variant.setdefault(record.run.rsplit("-seed", 1)[0], {})[record.config.seed] = record.final
        assert (record.start is None) == ("weights=None" in record.run)
        assert record.config.train == records[0].config.train  # one budget
    assert by_variant.keys() == FINETUNED.keys()
    for name, finals in by_variant.items():
        assert finals.keys() == {0, 1, 2}
        numbers = ([100 * f.train_error for f in finals.values()], [100 * f.test_error for f in finals.values()])
        cells = " | ".join(f"{statistics.fmean(n):.2f} ± {statistics.stdev(n):.2f}" for n in numbers)
        assert f"| {FINETUNED[name]} | {cells} |" in text
    whole, frozen, *scratch = (by_variant[name] for name in FINETUNED)
    for seed in (0, 1, 2):
        assert max(whole[seed].test_error, frozen[seed].test_error) < min(other[seed].test_error for other in scratch)


def test_the_published_net_s_error_is_that_of_its_record() -> None:
    result = json.loads((DOCS / "records" / "imported.json").read_text())
    text = (DOCS / "results.md").read_text()
    assert (result["images"], result["file"]) == (10_000, "cifar10-resnet20-pytorch.th")
    assert 0.17 < result["error"] < 0.19
    assert f"**{100 * result['error']:.2f} %**" in text
    assert result["digest"] in text


def test_every_link_of_readme_and_docs_leads_somewhere() -> None:
    for page in (DOCS.parent / "README.md", DOCS / "results.md", DOCS / "weights.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
