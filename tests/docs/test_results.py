"""The committed tables follow from the committed records."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path

import pytest

from experiments.documents import REPORTS
from resnet_jax.record import Final, read_metrics, read_record
from resnet_jax.reports.report import write_report
from resnet_jax.reports.runs import read_runs

DOCS = Path(__file__).parents[2] / "docs"

RECORDS = DOCS.parent / "experiments" / "records"


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {}
    for name, studies in REPORTS.items():
        folders[name] = tmp_path_factory.mktemp(name)
        write_report(read_runs([RECORDS / study for study in studies]), folders[name])
    return folders


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
    exact = set(re.findall(r"(\d+\.\d\d) ± (\d+\.\d\d)", reports))
    rounded = {tuple(f"{float(number):.1f}" for number in pair) for pair in exact}
    values = re.findall(r"(\d+\.\d+) ± (\d+\.\d+)", head)
    assert len(values) >= 6
    assert set(values) <= exact | rounded


CIFAR10 = ("cifar10-depth-small-images", "cifar10-depth-small")
# Headings in results.md, with which the part of a study begins, and the reports that each part is about.
STUDIES = (("digits",), CIFAR10, ("digits-shortcuts",), ("digits-activations",))
PARTS = "## Degradation on natural images|## Shortcuts, taken apart|## Orders of activations"


def both(left: dict[int, float], right: dict[int, float]) -> str:
    """Left minus right with each of two seeds, as the text writes them."""
    assert left.keys() & right.keys() == {0, 1}
    return " and ".join(f"{left[seed] - right[seed]:.2f}" for seed in (0, 1))


def natural(part: str) -> str:
    """A subsection of the text on CIFAR-10, its lines joined."""
    text = (DOCS / "results.md").read_text().split("## Degradation on natural images")[1]
    return " ".join(text.split(f"### {part}")[1].split("\n##")[0].split())


def errors_of(study: str) -> dict[tuple[str, int, int, float, str], dict[int, float]]:
    """Training errors in per cent by seed, by net, depth, iterations, rate and warm-up."""
    found: dict[tuple[str, int, int, float, str], dict[int, float]] = {}
    for file in sorted(RECORDS.glob(f"{study}/*/record.json")):
        record = read_record(file)
        assert record.final is not None
        c = record.config
        key = (c.model.net, c.model.depth, c.train.iterations, c.optim.learning_rate, c.optim.warmup)
        found.setdefault(key, {})[c.seed] = 100.0 * record.final.train_error
    return found


@pytest.mark.parametrize(("part", "report"), [("1,000 images", CIFAR10[0]), ("5,000 images", CIFAR10[1])])
def test_the_tables_on_cifar10_are_those_of_its_reports(rebuilt: dict[str, Path], part: str, report: str) -> None:
    for row in (rebuilt[report] / "table.md").read_text().splitlines():
        if row.startswith("|"):
            assert row in natural(part)


def test_5000_images_say_what_their_records_say(rebuilt: dict[str, Path]) -> None:
    text, errors = natural("5,000 images"), errors_of("cifar10-depth-small")
    for study in ("budget", "rates"):
        errors |= errors_of(f"cifar10-depth-small-{study}")

    def at(net: str, depth: int, iterations: int = 3_200, rate: float = 0.1, warmup: str = "none") -> dict[int, float]:
        return errors[net, depth, iterations, rate, warmup]

    assert f"of the plain net rises by {both(at('plain', 56), at('plain', 20))} points with the two seeds" in text
    one, other = both(at("resnet", 56), at("resnet", 20)).split(" and ")
    assert f"rises by {one} points with one seed and {other} with the other" in text
    assert f"ResNet-56 lies {both(at('plain', 56), at('resnet', 56))} points below plain-56" in text

    for label, rate, warmup in (("0.1", 0.1, "none"), ("0.1 with warm-up", 0.1, "error"), ("0.02", 0.02, "none")):
        plain, residual = (at(net, 56, 1_600, rate, warmup)[0] for net in ("plain", "resnet"))
        assert f"| {label} | {plain:.2f} | {residual:.2f} |" in text
    assert f"| 0.05 | \N{EN DASH} | {at('resnet', 56, 1_600, 0.05)[0]:.2f} |" in text
    assert f"within {at('resnet', 56, 1_600, 0.02)[0] - at('resnet', 56)[0]:.2f} points of where it is" in text

    gaps = {
        (net, n): {seed: at(net, 56, n)[seed] - at(net, 20, n)[seed] for seed in (0, 1)}
        for net in ("plain", "resnet")
        for n in (800, 1_600, 3_200)
    }
    for net in ("plain", "resnet"):
        told = [f"{statistics.fmean(gaps[net, n].values()):.2f}" for n in (800, 1_600, 3_200)]
        assert "{}, {} and {} points".format(*told) in text
    assert f"by {both(gaps['plain', 3_200], gaps['plain', 800])} from the first to the last" in text
    assert f"after 3,200 than after 800, by {both(gaps['resnet', 800], gaps['resnet', 3_200])}." in text
    for net, name in (("plain", "plain-56"), ("resnet", "ResNet-56")):
        first, last = (statistics.fmean(at(net, 56, n).values()) for n in (800, 3_200))
        assert f"{name} from {first:.2f} to {last:.2f} %" in text
    assert f"plain-56 is {both(at('plain', 56), at('plain', 20, 800))} points higher" in text
    report = (rebuilt["cifar10-depth-small"] / "report.md").read_text()
    for row in report.split("| iterations | plain-56 \N{MINUS SIGN} plain-20 |")[1].split("\n\n")[0].splitlines()[2:]:
        assert row in text


def test_what_the_runs_on_cifar10_cost_is_said() -> None:
    text = natural("What can be compared")
    records = [read_record(f) for f in sorted(RECORDS.glob("cifar10-depth-small*/*/record.json"))]
    # Interrupted on the way, at least three times, and each of those runs is whole.
    interrupted = [record for record in records if len(record.sessions) > 1]
    assert len(interrupted) >= 3
    assert f"{len(interrupted)} of the runs were interrupted" in text
    hours = sum(record.cost.total_s for record in records) / 3600
    assert f"{len(records)} runs took {hours:.1f} hours of a core" in text
    speeds = {
        depth: [r.cost.images_per_second for r in records if r.config.model.depth == depth and r.cost.images_per_second]
        for depth in (20, 56)
    }
    for depth, low, high, at in ((20, 440, 800, " images a second at 20 layers"), (56, 115, 295, " at 56")):
        assert low <= min(speeds[depth]) <= max(speeds[depth]) <= high
        assert f"{low} to {high}{at}" in text
    longest = max(record.cost.total_s for record in records)
    assert f"took {longest / 60:.0f} minutes" in text


def test_residual_nets_fit_a_thousand_images_at_any_depth_and_plain_nets_do_not() -> None:
    text = natural("1,000 images")
    errors = {key[:2]: by_seed for key, by_seed in errors_of(CIFAR10[0]).items()}
    assert all(by_seed.keys() >= {0, 1} for by_seed in errors.values())
    # By the text's words, with each seed and not only in the mean.
    for seed in errors["resnet", 56]:
        assert errors["plain", 56][seed] > errors["plain", 20][seed] + 10.0
        assert errors["resnet", 56][seed] < errors["resnet", 20][seed]
    most = max(max(by_seed.values()) for (net, _), by_seed in errors.items() if net == "resnet")
    assert most < 1.0
    assert f"errs on more than {round(10.0 * most)} of its 1,000 images" in text
    assert f"of the plain net rises by {both(errors['plain', 56], errors['plain', 20])} points" in text
    assert f"it is {both(errors['resnet', 20], errors['resnet', 56])} points lower at 56 layers" in text
    images = both(errors["resnet", 20], errors["resnet", 56]).split(" and ")
    assert "a difference of {:.0f} and {:.0f} images".format(*(10.0 * float(points) for points in images)) in text
    below = both(errors["plain", 56], errors["resnet", 56])
    assert f"the residual net is {below} points below the plain one" in text


def test_losses_and_test_errors_on_a_thousand_images_are_those_of_the_records() -> None:
    text = natural("1,000 images")
    losses: dict[tuple[str, int], list[float]] = {}
    tests: dict[tuple[str, int], dict[int, float]] = {}
    for file in sorted((RECORDS / CIFAR10[0]).glob("*/record.json")):
        record = read_record(file)
        assert record.final is not None
        net = (record.config.model.net, record.config.model.depth)
        losses.setdefault(net, []).append(record.final.train_loss)
        tests.setdefault(net, {})[record.config.seed] = 100.0 * record.final.test_error
    mean = {net: statistics.fmean(values) for net, values in losses.items()}
    residual = f"{mean['resnet', 20]:.3f} at 20 layers and {mean['resnet', 56]:.3f} at 56, lower with each seed"
    assert max(losses["resnet", 56]) < min(losses["resnet", 20])
    assert f"{residual}, against {mean['plain', 20]:.2f} and {mean['plain', 56]:.2f} for plain nets" in text
    worse = both(tests["plain", 56], tests["plain", 20])
    assert f"{worse} points above plain-20, so it does not overfit" in text
    assert all(tests["resnet", 56][seed] > tests["resnet", 20][seed] for seed in (0, 1))
    assert f"with both seeds: {both(tests['resnet', 56], tests['resnet', 20])} points" in text


def test_what_the_choice_of_the_rate_did_and_how_fast_both_nets_learned_is_said() -> None:
    text = " ".join((DOCS / "results.md").read_text().split())
    low = errors_of("cifar10-depth-small-rates")
    high = errors_of("cifar10-depth-small-budget")
    better, worse = (
        low[net, 56, 1_600, 0.02, "none"][0] - high[net, 56, 1_600, 0.1, "none"][0] for net in ("resnet", "plain")
    )
    assert f"did {-better:.1f} points better at 0.02 than at 0.1, where plain-56 did {worse:.1f} worse" in text

    def learned(net: str) -> float:
        """Points of running training error between the two iterations, mean over seeds."""
        found = []
        for file in sorted((RECORDS / "cifar10-depth-small").glob(f"{net}-56-seed*/metrics.jsonl")):
            by_step = {line.step: 100.0 * line.running_error for line in read_metrics(file)}
            found.append(by_step[977] - by_step[1_446])
        assert len(found) == 2
        return statistics.fmean(found)

    assert f"still falls by {learned('resnet'):.1f} points, that of plain-56 by {learned('plain'):.1f}" in text


def test_twice_the_training_does_not_rescue_the_plain_net_on_a_thousand_images() -> None:
    text = natural("1,000 images")
    errors, control = errors_of(CIFAR10[0]), errors_of(f"{CIFAR10[0]}-control")
    once, shallow = (errors["plain", depth, 1_600, 0.02, "none"] for depth in (56, 20))
    twice = control["plain", 56, 3_200, 0.02, "none"]
    assert twice.keys() == {0, 1}
    assert f"takes {both(once, twice)} points off plain-56" in text
    assert f"leaves it {both(twice, shallow)} points above plain-20 with half of it" in text
    papers = control["plain", 56, 1_600, 0.1, "none"]
    assert f"it is {both(papers, once)} points worse than at 0.02" in text
    assert all(twice[seed] < once[seed] < papers[seed] for seed in (0, 1))


def test_the_other_sources_errors_are_those_of_their_records() -> None:
    text = (DOCS / "results.md").read_text()
    records = [read_record(file) for file in sorted((RECORDS / "sources").glob("*/record.json"))]
    assert len(records) == 2
    for record in records:
        assert record.final is not None
        assert f"| {record.final.train_error:.2%} | {record.final.test_error:.2%} |".replace("%", "") in text


def test_recomputed_statistics_change_what_the_text_says() -> None:
    text = (DOCS / "results.md").read_text()
    rows = json.loads((RECORDS / "recomputed.json").read_text())["rows"]
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
    rows = json.loads((RECORDS / "equivalence.json").read_text())["rows"]
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
    records = [read_record(file) for file in sorted((RECORDS / "finetune-small").glob("*/record.json"))]
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


def test_no_run_s_record_comes_from_a_changed_tree() -> None:
    records = sorted(RECORDS.glob("*/*/record.json"))
    assert len(records) > 100
    assert [str(file) for file in records if read_record(file).environment.code.endswith("+changes")] == []


def test_the_published_net_s_error_is_that_of_its_record() -> None:
    result = json.loads((RECORDS / "imported.json").read_text())
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
