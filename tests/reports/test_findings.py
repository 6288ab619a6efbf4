"""Findings claim what the numbers support, and the headline says no more."""

from pathlib import Path

import pytest

from resnet_jax.reports.findings import find, find_more, findings_table, headline
from resnet_jax.reports.text import MINUS
from tests.reports.factory import only, write_run, write_study


def verdicts(root: Path) -> dict[tuple[str, str], str]:
    return {(finding.label, finding.measure): finding.verdict for finding in find(only(root))}


def said(root: Path) -> str:
    comparison = only(root)
    return headline(comparison, find(comparison))


def test_degradation_is_claimed_where_the_interval_excludes_zero(tmp_path: Path) -> None:
    write_study(tmp_path)
    found = verdicts(tmp_path)
    assert found["plain nets, 56 \N{MINUS SIGN} 20 layers", "training error"] == "worse"
    assert found["residual nets, 56 \N{MINUS SIGN} 20 layers", "training error"] == "not established"
    assert found["56 layers, resnet \N{MINUS SIGN} plain", "training error"] == "better"
    # Of plain nets 51.9, 61.7, 56.8 points: mean 56.8, std 4.9, half an interval 4.303 * 4.9 / root 3 = 12.17.
    text = said(tmp_path)
    assert "plain nets degrade from 20 to 56 layers" in text
    assert "+56.80 points of training error (95 % interval +44.63 to +68.97, 3 pairs" in text
    assert "no effect of depth is established" in text


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_conclude_nothing(tmp_path: Path, seeds: int) -> None:
    for net, depth, errors in (("plain", 20, (0.0, 0.0)), ("plain", 56, (0.562, 0.796))):
        for seed, train in enumerate(errors[:seeds]):
            write_run(tmp_path, net, depth, seed, train)
    assert set(verdicts(tmp_path).values()) == {"too few seeds"}
    text = said(tmp_path)
    assert "+56.20" in text
    assert ("(two seeds; too few seeds for an interval)" in text) == (seeds == 2)
    for claim in ("degrade", "established", "95 %"):
        assert claim not in text


def test_equal_errors_are_equal(tmp_path: Path) -> None:
    for depth in (20, 56):
        for seed in range(3):
            write_run(tmp_path, "resnet", depth, seed, 0.01 * seed)
    assert verdicts(tmp_path)["residual nets, 56 \N{MINUS SIGN} 20 layers", "training error"] == "equal"
    assert "the same training error at 20 and 56 layers with every seed (3 pairs)" in said(tmp_path)


def test_an_improvement_with_depth_is_not_called_degradation(tmp_path: Path) -> None:
    for depth, errors in ((20, (0.50, 0.51, 0.53)), (56, (0.10, 0.11, 0.12))):
        for seed, train in enumerate(errors):
            write_run(tmp_path, "plain", depth, seed, train)
    assert "gain" in said(tmp_path)
    assert "degrade" not in said(tmp_path)


def test_nets_that_all_diverged_are_said(tmp_path: Path) -> None:
    write_run(tmp_path, "plain", 20, 0, 0.0)
    write_run(tmp_path, "plain", 56, 0, None)
    text = "On digits, no seed of plain nets finished at both 20 and 56 layers. "
    text += "1 of 2 runs diverged; no mean includes it."
    assert said(tmp_path) == text


def test_an_ablation_groups_its_variants_by_what_can_be_said(tmp_path: Path) -> None:
    variants = {
        "a": ({}, (0.02, 0.03, 0.04)),
        "b": ({"model.cut": ("stage2",)}, (0.12, 0.131, 0.142)),
        "c": ({"model.survival": 0.5}, (0.02, 0.03, 0.04)),
        "d": ({"model.skip_init": 0.0}, (0.01, 0.05, 0.03)),
    }
    for name, (changes, errors) in variants.items():
        for seed, error in enumerate(errors):
            write_run(tmp_path, "resnet", 56, seed, 0.0, error, run=f"{name}{seed}", changes=changes)
    text = said(tmp_path)
    assert "higher with skips cut: stage2 (+10.10 points)" in text
    assert "the same for every seed with survival probability: 0.5" in text
    assert "no difference established with SkipInit: 0" in text
    assert len(find_more(only(tmp_path))) == 3 * 2  # pairs of the three variants, in both errors


def test_of_many_variants_the_answer_names_the_best_and_the_worst(tmp_path: Path) -> None:
    for number, block in enumerate(["", *(f"stage{s}_block{b}" for s in (1, 2, 3) for b in (1, 2, 3))]):
        for seed in (0, 1, 2):
            error = 0.1 + (0.01 * number + 0.001 * seed if number != 4 else -0.05)
            changes = {"model.cut": (block,)} if block else {}
            write_run(tmp_path, "resnet", 20, seed, 0.0, error, run=f"{number}-seed{seed}", changes=changes)
    answer = said(tmp_path)
    assert "higher with 8 variants; lower with 1 variant; lowest with skips cut: stage2_block1 (" in answer
    assert "; highest with skips cut: stage3_block3 (+9" in answer


def test_variants_without_a_seed_in_common_are_not_said_to_be_unfinished(tmp_path: Path) -> None:
    write_run(tmp_path, "plain", 20, 0)
    write_run(tmp_path, "resnet", 20, 1)
    assert "no seed of the baseline finished with " in said(tmp_path)
    assert set(verdicts(tmp_path).values()) == {"no pair"}


def test_a_single_net_has_nothing_to_compare_with(tmp_path: Path) -> None:
    write_run(tmp_path, "resnet", 20, 0, 0.0, 0.02)
    assert find(only(tmp_path)) == ()
    assert "nothing to compare it with: test error 2.00 %" in said(tmp_path)


def test_the_best_value_of_an_axis_is_said(tmp_path: Path) -> None:
    for rate, error in ((0.01, 0.2), (0.1, 0.05), (1.0, 0.4)):
        for seed in range(3):
            write_run(tmp_path, "resnet", 20, seed, 0.0, error + 0.01 * seed, rate=rate)
    assert "test error is lowest at learning rate 0.1, 6.00 ± 1.00 %" in said(tmp_path)


def test_a_seed_that_diverged_is_in_the_answer(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path, "plain", 20, seed, 0.01, 0.02)
        write_run(tmp_path, "plain", 56, seed, None if seed == 2 else 0.5, 0.6)
    assert said(tmp_path).endswith("1 of 6 runs diverged; no mean includes it.")


def test_depth_is_counted_from_the_shallowest_of_at_least_20_layers(tmp_path: Path) -> None:
    errors = {8: (0.3, 0.3, 0.3), 20: (0.01, 0.02, 0.03), 56: (0.51, 0.54, 0.57)}
    for depth, values in errors.items():
        for seed, train in enumerate(values):
            write_run(tmp_path, "plain", depth, seed, train, train + 0.1)
    # Pairs 50, 52 and 54: mean 52, std 2; t(0.975, 2) = 4.302653, times 2 over the root of 3, is 4.97.
    found = find(only(tmp_path))
    rows = findings_table(found, "digits").rows
    plain = f"plain nets, 56 {MINUS} 20 layers"
    assert rows[0] == (plain, "training error", "3", "+52.00 ± 2.00", "+47.03 to +56.97", "worse")
    assert find_more(only(tmp_path)) == ()


def test_without_a_net_of_20_layers_depth_is_counted_from_the_shallowest(tmp_path: Path) -> None:
    for depth in (8, 14, 20):
        write_run(tmp_path, "plain", depth, 0, depth / 100)
    comparison = only(tmp_path)
    assert {finding.label for finding in find(comparison)} == {f"plain nets, 20 {MINUS} 8 layers"}
    assert {finding.label for finding in find_more(comparison)} == {f"plain nets, 14 {MINUS} 8 layers"}
    assert {finding.verdict for finding in find_more(comparison)} == {"too few seeds"}


def test_residual_minus_plain_pairs_seeds(tmp_path: Path) -> None:
    for seed, (plain, residual) in enumerate([(0.5, 0.01), (0.6, 0.01), (None, 0.5)]):
        for depth in (20, 56):
            write_run(tmp_path, "plain", depth, seed, plain, 0.6)
            write_run(tmp_path, "resnet", depth, seed, residual, 0.02)
    comparison = only(tmp_path)
    for found, depth in ((find(comparison), 56), (find_more(comparison), 20)):
        table = findings_table(found[-2:], "digits")
        assert "sample standard deviation, or both differences if there are two." in table.caption
        rows = [row[1:] for row in table.rows]
        assert found[-1].label == f"{depth} layers, resnet {MINUS} plain"
        assert rows == [
            ("training error", "2", f"{MINUS}49.00 and {MINUS}59.00", "too few seeds", "too few seeds"),
            ("test error", "2", f"{MINUS}58.00 and {MINUS}58.00", "too few seeds", "too few seeds"),
        ]
