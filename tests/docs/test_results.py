"""What docs/results.md claims holds in the committed records, with each seed; test_passages has its numbers."""

import json
import re
from pathlib import Path

from resnet_jax.record import Final, RunRecord, read_record

DOCS = Path(__file__).parents[2] / "docs"

RECORDS = DOCS.parent / "experiments" / "records"
IMAGES = "cifar10-depth-small-images"


def finals(study: str) -> dict[tuple[str, int, int, float], dict[int, Final]]:
    """What the runs of a study ended with, by net, depth, iterations and rate, and by seed."""
    found: dict[tuple[str, int, int, float], dict[int, Final]] = {}
    for record in records(f"{study}/*"):
        assert record.final is not None
        c = record.config
        key = (c.model.net, c.model.depth, c.train.iterations, c.optim.learning_rate)
        found.setdefault(key, {})[c.seed] = record.final
    return found


def records(folders: str) -> list[RunRecord]:
    return [read_record(file) for file in sorted(RECORDS.glob(f"{folders}/record.json"))]


def test_residual_nets_fit_a_thousand_images_at_any_depth_and_plain_nets_do_not() -> None:
    by_net = {key[:2]: by_seed for key, by_seed in finals(IMAGES).items()}
    for seed in (0, 1):
        error = {net: by_seed[seed].train_error for net, by_seed in by_net.items()}
        assert error["plain", 56] > error["plain", 20] + 0.1
        assert error["resnet", 56] < error["resnet", 20]
        assert max(value for (net, _), value in error.items() if net == "resnet") < 0.01
        test = {net: by_seed[seed].test_error for net, by_seed in by_net.items()}
        assert max(test, key=lambda net: test[net]) == ("plain", 56)
        assert test["resnet", 56] > test["resnet", 20]
    losses = {net: [final.train_loss for final in by_seed.values()] for net, by_seed in by_net.items()}
    assert max(losses["resnet", 56]) < min(losses["resnet", 20])


def test_twice_the_training_does_not_rescue_the_plain_net_on_a_thousand_images() -> None:
    once, control = finals(IMAGES)["plain", 56, 1_600, 0.02], finals(f"{IMAGES}-control")
    twice, papers = control["plain", 56, 3_200, 0.02], control["plain", 56, 1_600, 0.1]
    for seed in (0, 1):
        assert twice[seed].train_error < once[seed].train_error < papers[seed].train_error


def test_on_5000_images_the_gap_opens_for_plain_nets_and_closes_for_residual_ones() -> None:
    errors = finals("cifar10-depth-small") | finals("cifar10-depth-small-budget")

    def gap(net: str, iterations: int, seed: int) -> float:
        deep, shallow = (errors[net, depth, iterations, 0.1][seed].train_error for depth in (56, 20))
        return deep - shallow

    for seed in (0, 1):
        assert gap("plain", 800, seed) < gap("plain", 3_200, seed)
        assert 0.0 < gap("resnet", 3_200, seed) < gap("resnet", 800, seed)
    at_each_rate = [by_seed for key, by_seed in finals("cifar10-depth-small-rates").items() if key[:2] == ("plain", 56)]
    assert all(final.train_error > 0.7 for by_seed in at_each_rate for final in by_seed.values())


def test_the_speeds_on_cifar10_lie_where_the_text_says() -> None:
    text = " ".join((DOCS / "results.md").read_text(encoding="utf-8").split())
    (said,) = re.findall(r"(\d+) to (\d+) images a second at (\d+) layers and (\d+) to (\d+) at (\d+)", text)
    low, high, depth, *deeper = map(int, said)
    for least, most, layers in ((low, high, depth), tuple(deeper)):
        found = [r.cost.images_per_second for r in records("cifar10-depth-small*/*") if r.config.model.depth == layers]
        assert least <= min(filter(None, found)) <= max(found) <= most


def test_interrupted_runs_are_whole() -> None:
    interrupted = [record for record in records("cifar10-depth-small*/*") if len(record.sessions) > 1]
    assert len(interrupted) >= 3
    assert all(record.final is not None for record in interrupted)


def test_parallel_modes_agree_in_float64() -> None:
    rows = json.loads((RECORDS / "equivalence.json").read_text())["rows"]
    assert len(rows) == 2 * 2 * 3 * 3 * 3
    assert max(row["drift"][-1] for row in rows if row["dtype"] == "float64") < 1e-11


FINETUNED = {
    "resnet-20",
    "resnet-20-frozen_stages=3",
    "resnet-20-weights=None-normalize=channel_mean_std-learning_rate=0.1",
    "resnet-20-weights=None-normalize=channel_mean_std",
}


def test_fine_tuning_beats_random_values_with_every_seed() -> None:
    by_variant: dict[str, dict[int, Final]] = {}
    for record in (runs := records("finetune-small/*")):
        assert record.final is not None
        by_variant.setdefault(record.run.rsplit("-seed", 1)[0], {})[record.config.seed] = record.final
        assert (record.start is None) == ("weights=None" in record.run)
        assert record.config.train == runs[0].config.train  # one budget
    assert by_variant.keys() == FINETUNED
    assert all(found.keys() == {0, 1, 2} for found in by_variant.values())
    started = [found for name, found in by_variant.items() if "weights=None" not in name]
    scratch = [found for name, found in by_variant.items() if "weights=None" in name]
    for seed in (0, 1, 2):
        assert max(net[seed].test_error for net in started) < min(net[seed].test_error for net in scratch)


def test_no_run_s_record_comes_from_a_changed_tree() -> None:
    found = records("*/*")
    assert len(found) > 100
    assert [f"{r.study}/{r.run}" for r in found if r.environment.code.endswith("+changes")] == []


def test_the_published_net_is_the_file_that_was_published() -> None:
    result = json.loads((RECORDS / "imported.json").read_text())
    assert (result["images"], result["file"]) == (10_000, "cifar10-resnet20-pytorch.th")
    assert 0.17 < result["error"] < 0.19
    assert result["digest"] in (DOCS / "results.md").read_text()


def test_every_link_of_readme_and_docs_leads_somewhere() -> None:
    for page in (DOCS.parent / "README.md", DOCS / "results.md", DOCS / "weights.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
