"""Tables against numbers worked out by hand, and nothing dropped in silence."""

import csv
import io
import json
from pathlib import Path

import pytest

from resnet_jax.reports.csv_files import runs_csv, table_csv
from resnet_jax.reports.document import Table, markdown_table
from resnet_jax.reports.tables import (
    cost_table,
    error_table,
    runs_table,
    twins_table,
)
from resnet_jax.reports.text import EN_DASH
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
    write_run(tmp_path, "resnet", 20)
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
    assert rows(error_table(only(tmp_path)))["plain-20", "1"]["test error, %"] == "40.00"


def test_runs_that_diverged_are_said_in_the_cell(tmp_path: Path) -> None:
    for seed, train in enumerate([0.5, None, 0.6]):
        write_run(tmp_path, "plain", 56, seed, train)
    for seed in (0, 1):
        write_run(tmp_path, "plain", 110, seed, None)
    table = rows(error_table(only(tmp_path)))
    assert table["56", "plain"]["training error, %"] == "55.00 ± 7.07; diverged (1 of 3)"
    assert table["110", "plain"]["training error, %"] == "diverged (2 of 2)"
    assert table["110", "plain"]["test error, %"] == "diverged (2 of 2)"


def test_twins_are_checked_seed_by_seed(tmp_path: Path) -> None:
    for seed in (0, 1):
        for net in ("plain", "resnet"):
            write_run(tmp_path, net, 20, seed)
            write_run(tmp_path, net, 32, seed, fingerprint=f"{net}{seed}" if seed else None)
            write_run(tmp_path, net, 44, seed, parameters=1000 if net == "plain" else 1001)
            write_run(tmp_path, net, 56, seed + (5 if net == "plain" else 0))
    write_run(tmp_path, "resnet-B", 20, 0, parameters=270_000, fingerprint="projections")
    table = twins_table(only(tmp_path))
    assert table is not None
    assert table.rows == (
        ("20", "plain, resnet", "269,640", "269,640", "2 of 2", "equal"),
        ("20", "plain, resnet-B", "269,640", "270,000", "0 of 1", EN_DASH),
        ("32", "plain, resnet", "431,424", "431,424", "1 of 2", "not equal, but should be"),
        ("44", "plain, resnet", "1,000", "1,001", "2 of 2", "not equal, but should be"),
        ("56", "plain, resnet", "754,992", "754,992", "0 of 0", "no common seed"),
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
