"""Tables against numbers worked out by hand, and nothing dropped in silence."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from resnet_jax.reports.csv_files import runs_csv, table_csv
from resnet_jax.reports.document import Table, markdown_table
from resnet_jax.reports.tables import (
    cost_table,
    depth_table,
    error_table,
    residual_table,
    runs_table,
    twin_sentences,
)
from tests.reports.factory import only, read, write_run, write_study


def rows(table: Table | None) -> dict[tuple[str, str], dict[str, str]]:
    """Rows by their first two cells; columns by name, repeated names numbered."""
    assert table is not None
    found = {}
    for row in table.rows:
        cells: dict[str, str] = {}
        for header, cell in zip(table.headers, row, strict=True):
            cells[header if header not in cells else f"{header} 2"] = cell
        found[row[0], row[1]] = cells
    return found


def test_error_table_gives_mean_and_sample_std_over_seeds(tmp_path: Path) -> None:
    for seed, (train, test) in enumerate([(0.50, 0.60), (0.52, 0.60), (0.54, 0.63)]):
        write_run(tmp_path, "plain", 56, seed, train, test)
    write_run(tmp_path, "resnet", 56, 0, 0.001, 0.0125)
    table = rows(error_table(only(tmp_path)))
    assert table["56", "plain"] == {
        "depth": "56",
        "net": "plain",
        "seeds": "3",
        "training error, %": "52.00 ± 2.00",
        "running training error, %": "52.10 ± 2.00",
        "test error, %": "61.00 ± 1.73",
    }
    # One seed: no spread is shown.
    assert table["56", "resnet"]["training error, %"] == "0.10"
    assert table["56", "resnet"]["test error, %"] == "1.25"


def test_the_test_error_is_that_of_the_last_step_and_not_the_best(tmp_path: Path) -> None:
    run = write_run(tmp_path, train=0.3, test=0.4)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    lines[2]["test_error"] = 0.01
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert rows(error_table(only(tmp_path)))["20", "plain"]["test error, %"] == "40.00"


def test_runs_that_diverged_are_said_in_the_cell(tmp_path: Path) -> None:
    for seed, train in enumerate([0.5, None, 0.6]):
        write_run(tmp_path, "plain", 56, seed, train)
    for seed in (0, 1):
        write_run(tmp_path, "plain", 110, seed, None)
    table = rows(error_table(only(tmp_path)))
    assert table["56", "plain"]["training error, %"] == "55.00 ± 7.07; diverged (1 of 3)"
    assert table["110", "plain"]["training error, %"] == "diverged (2 of 2)"
    assert table["110", "plain"]["test error, %"] == "diverged (2 of 2)"


def test_depth_is_counted_from_the_shallowest_of_at_least_20_layers(tmp_path: Path) -> None:
    errors = {8: (0.3, 0.3, 0.3), 20: (0.01, 0.02, 0.03), 56: (0.51, 0.54, 0.57)}
    for depth, values in errors.items():
        for seed, train in enumerate(values):
            write_run(tmp_path, "plain", depth, seed, train, train + 0.1)
    table = rows(depth_table(only(tmp_path)))
    # Pairs 50, 52 and 54: mean 52, std 2; t(0.975, 2) = 4.302653, times 2 over the root of 3, is 4.97.
    assert list(table) == [("plain", "56 − 20 layers")]  # noqa: RUF001
    row = table["plain", "56 − 20 layers"]  # noqa: RUF001
    assert row["training error, points"] == "+52.00 ± 2.00"
    assert row["95 % interval"] == "+47.03 to +56.97"
    assert row["pairs"] == "3"


def test_without_a_net_of_20_layers_depth_is_counted_from_the_shallowest(tmp_path: Path) -> None:
    for depth in (8, 14, 20):
        write_run(tmp_path, "plain", depth, 0, depth / 100)
    assert [key[1] for key in rows(depth_table(only(tmp_path)))] == ["14 − 8 layers", "20 − 8 layers"]  # noqa: RUF001
    assert rows(depth_table(only(tmp_path)))["plain", "20 − 8 layers"]["95 % interval"] == "too few seeds"  # noqa: RUF001


def test_residual_minus_plain_pairs_seeds_and_counts_those_lost_to_divergence(tmp_path: Path) -> None:
    for seed, (plain, residual) in enumerate([(0.5, 0.01), (0.6, 0.01), (None, 0.5)]):
        write_run(tmp_path, "plain", 56, seed, plain, 0.6)
        write_run(tmp_path, "resnet", 56, seed, residual, 0.02)
    row = rows(residual_table(only(tmp_path)))["56", "resnet − plain"]  # noqa: RUF001
    assert row["training error, points"] == "−49.00 and −59.00"  # noqa: RUF001
    assert row["95 % interval"] == "too few seeds"
    assert row["test error, points"] == "−58.00 and −58.00"  # noqa: RUF001
    assert row["pairs"] == "2; 1 diverged"


def test_twins_are_checked_seed_by_seed(tmp_path: Path) -> None:
    for seed in (0, 1):
        for net in ("plain", "resnet"):
            write_run(tmp_path, net, 20, seed)
            write_run(tmp_path, net, 32, seed, fingerprint=f"{net}{seed}" if seed else None)
            write_run(tmp_path, net, 44, seed, parameters=1000 if net == "plain" else 1001)
    write_run(tmp_path, "resnet-B", 20, 0, parameters=270_000, fingerprint="projections")
    found = twin_sentences(only(tmp_path))
    assert found == (
        "20 layers, plain and resnet: the same 269,640 parameters; the same initial values (2 seeds compared).",
        "20 layers, plain and resnet-B: 269,640 and 270,000 parameters; other initial values for seed 0.",
        "32 layers, plain and resnet: the same 431,424 parameters; other initial values for seed 1. "
        "They should be equal: these two are not twins.",
        "44 layers, plain and resnet: 1,000 and 1,001 parameters; the same initial values (2 seeds compared). "
        "They should be equal: these two are not twins.",
    )


def test_cost_table_has_size_and_price(tmp_path: Path) -> None:
    write_run(tmp_path, "plain", 20, 0)
    write_run(tmp_path, "plain", 56, 0, None)
    table = rows(cost_table(only(tmp_path)))
    assert table["plain-20", "240"]["parameters"] == "269,640"
    assert table["plain-20", "240"]["multiply-adds, M"] == "2.50"
    assert table["plain-20", "240"]["time per run"] == "15.0 s"
    assert table["plain-20", "240"]["images/s"] == "1,500"
    assert table["plain-56", "240"]["images/s"] == "–"  # noqa: RUF001


def test_runs_table_names_the_fields_that_differ(tmp_path: Path) -> None:
    write_run(tmp_path, "plain", 20, 0, run="a")
    write_run(tmp_path, "plain", 56, 1, run="b", changes={"optim.weight_decay": 0.0})
    write_run(tmp_path, "plain", 56, 2, None, run="c")
    runs = read(tmp_path)[0].complete
    table = {row[0]: row for row in runs_table(runs).rows}
    assert table["digits-depth/b"][1] == "optim.weight_decay = 0.0"
    assert table["digits-depth/c"][3] == "diverged at step 97"


def test_csv_reads_back_as_recorded(tmp_path: Path) -> None:
    write_study(tmp_path)
    write_run(tmp_path, "plain", 56, 7, None)
    write_run(tmp_path, "plain", 56, 8, 1 / 3, 2 / 7)
    runs, compared = read(tmp_path)
    back = list(csv.DictReader(io.StringIO(runs_csv(runs.complete))))
    assert len(back) == len(runs.complete)
    for row, run in zip(back, runs.complete, strict=True):
        final = run.record.final
        assert row["run"] == run.record.run
        assert int(row["seed"]) == run.seed
        if final is None:
            assert (row["train_error"], row["test_error"], row["status"]) == ("", "", "diverged")
        else:
            assert float(row["train_error"]) == final.train_error
            assert float(row["test_error"]) == final.test_error
            assert float(row["running_error"]) == run.running_error
        assert float(row["optim.learning_rate"]) == run.record.config.optim.learning_rate
    variants = list(csv.DictReader(io.StringIO(table_csv(compared))))
    found = next(v for v in variants if (v["net"], v["depth"], v["iterations"]) == ("plain", "56", "240"))
    assert float(found["train_error_mean"]) == pytest.approx((0.52 + 0.62 + 0.57 + 1 / 3) / 4)
    assert (found["finished"], found["diverged"]) == ("4", "1")


def test_markdown_escapes_what_would_break_a_table() -> None:
    text = markdown_table(Table("a_b", ("x|y", "n"), (("<b>", "1"),)))
    assert text.splitlines() == [r"| x\|y | n |", "| --- | ---: |", r"| \<b\> | 1 |", "", r"a\_b"]
