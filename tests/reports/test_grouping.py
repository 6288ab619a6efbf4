"""What is compared with what, and how: by depth, against an axis, or as rows."""

import csv
import dataclasses
import io
from pathlib import Path

from resnet_jax.reports import fields
from resnet_jax.reports.csv_files import table_csv
from resnet_jax.reports.grouping import comparisons
from resnet_jax.reports.runs import read_runs
from resnet_jax.reports.text import shortened
from tests.reports.factory import DIGITS, only, read, write_run, write_study


def test_the_papers_study_asks_about_depth(tmp_path: Path) -> None:
    write_study(tmp_path)
    comparison = only(tmp_path)
    assert (comparison.question, comparison.axis) == ("depth", None)
    assert comparison.others


def test_a_cut_skip_is_a_row_beside_its_baseline(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path, "resnet", 56, seed, run=f"whole{seed}")
        write_run(tmp_path, "resnet", 56, seed, run=f"cut{seed}", changes={"model.cut": ("stage2_block3",)})
    comparison = only(tmp_path)
    assert comparison.question == "fields"
    assert comparison.varied == ("model.cut",)
    assert [cell.label for cell in comparison.cells] == ["baseline", "skips cut: stage2_block3"]


def test_a_grid_of_width_and_depth_has_depth_as_its_axis_and_widths_as_lines(tmp_path: Path) -> None:
    for width in (32, 8, 16):
        for depth in (8, 20, 56):
            changes = {"model.width": width}
            write_run(tmp_path, "resnet", depth, 0, run=f"{width}-{depth}", changes=changes)
    comparison = only(tmp_path)
    assert comparison.axis is not None
    assert comparison.axis.field == "model.depth"
    assert [label for label, _ in comparison.axis.lines] == ["width: 8", "width: 16", "width: 32"]
    assert [[v.depth for v in points] for _, points in comparison.axis.lines] == [[8, 20, 56]] * 3
    rows = list(csv.DictReader(io.StringIO(table_csv([comparison]))))
    assert {(row["model.width"], row["model.depth"]) for row in rows} == {
        (width, depth) for width in ("8", "16", "32") for depth in ("8", "20", "56")
    }


def test_rates_over_decades_are_a_logarithmic_axis(tmp_path: Path) -> None:
    for rate in (0.01, 0.03, 0.1, 0.3):
        write_run(tmp_path, "resnet", 20, 0, rate=rate)
    axis = only(tmp_path).axis
    assert axis is not None
    assert (axis.field, axis.logarithmic) == ("optim.learning_rate", True)


def test_survival_probabilities_are_a_linear_axis(tmp_path: Path) -> None:
    for survival in (0.4, 0.6, 0.8, 1.0):
        write_run(tmp_path, "resnet", 20, 0, run=f"s{survival}", changes={"model.survival": survival})
    axis = only(tmp_path).axis
    assert axis is not None
    assert (axis.field, axis.logarithmic) == ("model.survival", False)


def test_the_study_s_order_decides_the_rows_and_the_baseline(tmp_path: Path) -> None:
    names = {"z": "identity", "b": "C", "a": "B"}
    for name, shortcut in names.items():
        write_run(tmp_path, "resnet", 20, 0, run=name, changes={"model.shortcut": shortcut})
    (tmp_path / "digits-depth" / "study.json").write_text('{"runs": ["z", "b", "a"]}')
    runs = read_runs([tmp_path])
    (comparison,) = comparisons(runs.complete, runs.order)
    assert [cell.runs[0].record.run for cell in comparison.cells] == ["z", "b", "a"]


def test_other_data_are_another_comparison(tmp_path: Path) -> None:
    write_run(tmp_path, seed=0)
    write_run(tmp_path, seed=1, data=dataclasses.replace(DIGITS, fingerprint="ffffffffffffffff"))
    assert len(read(tmp_path)[1]) == 2


def test_other_studies_with_other_settings_are_another_comparison(tmp_path: Path) -> None:
    write_run(tmp_path, study="one")
    write_run(tmp_path, study="two", changes={"optim.weight_decay": 0.0, "data.pad": 2})
    assert [len(c.cells) for c in read(tmp_path)[1]] == [1, 1]


def test_fields_and_values_have_words() -> None:
    assert fields.word("model.cut") == "skips cut"
    assert fields.word("optim.learning_rate") == "learning rate"
    assert fields.value_words("model.cut", []) == "none"
    assert fields.value_words("model.cut", ["stage1", "stage2_block3"]) == "stage1 and stage2_block3"
    assert fields.value_words("optim.learning_rate", 0.05) == "0.05"
    assert fields.value_words("data.flip", True) == "yes"


def test_a_field_without_effect_is_no_part_of_a_label(tmp_path: Path) -> None:
    write_run(tmp_path, run="steps")
    write_run(tmp_path, run="narrow", changes={"model.width": 8})
    # A cosine has no milestones: its configuration has the default ones.
    write_run(tmp_path, run="cosine", changes={"optim.schedule": "cosine", "optim.milestones": (32_000, 48_000)})
    (comparison,) = read(tmp_path)[1]
    assert [cell.label for cell in comparison.cells] == ["baseline", "schedule: cosine", "width: 8"]


def test_of_very_many_fields_a_label_counts_the_last() -> None:
    label = "; ".join(f"field: {number}" for number in range(10))
    assert shortened(label) == "field: 0; field: 1; field: 2; 7 more"
    assert shortened("width: 8; depth: 20") == "width: 8; depth: 20"
