"""What the benchmark makes of times: medians, ratios, shares, tables."""

import json
from pathlib import Path

import pytest

from experiments import cli
from experiments.benchmark import limits, results, table
from experiments.benchmark.__main__ import main
from experiments.benchmark.race import Outcome
from experiments.benchmark.spec import Spec, step_config
from resnet_jax.config import override
from resnet_jax.errors import UserError

CONFIG = step_config("resnet-8", 4, "float32")


def test_medians_ratios_and_shares_by_hand() -> None:
    peer, own = Outcome("flax", [2.0, 4.0, 9.0]), Outcome("resnet_jax", [1.0, 4.0, 3.0], facts={"size": 7})
    rows = [
        {"limit": "matrix product", "dtype": "float32", "per_second": 1e9},
        {"limit": "matrix product", "dtype": "float32", "per_second": 2e9},
        {"limit": "matrix product", "dtype": "bfloat16", "per_second": 9e9},
        {"limit": "memory", "dtype": "bfloat16", "per_second": 1e10},
    ]
    row = results.result("step", Spec("step", "resnet_jax", CONFIG), own, peer, rows)
    assert (row["median"], row["quartiles"]) == (3.0, [2.0, 3.5])
    # Round by round 2, 1, 3; of the medians it would be 4 / 3.
    assert (row["ratio"], row["ratio_quartiles"]) == (2.0, [1.5, 2.5])
    assert row["images_per_second"] == pytest.approx(4 / 3)
    assert row["size"] == 7
    per_image = (
        1024 * 27 * 16 + 1024 * 9 * (2 * 16 * 16) + 256 * 9 * (16 * 32 + 32 * 32) + 64 * 9 * (32 + 64) * 64 + 640
    )
    assert row["share_of_products"] == pytest.approx(3 * 4 * per_image / 3.0 / 2e9)
    kept = 1024 * (3 + 16 + 16 * 4) + 1024 * 16 + 256 * 32 * 3 + 256 * 32 + 64 * 64 * 3 + 64 * 64
    weights = 432 + 2 * 2304 + 4608 + 9216 + 18432 + 36864 + 640 + 10 + 2 * (3 * 16 + 2 * 32 + 2 * 64)
    assert row["share_of_memory"] == pytest.approx((5 * 4 * 4 * kept + 28 * weights) / 3.0 / 1e10)
    assert limits.work(CONFIG, "eval", (32, 32, 3))[0] == 4 * per_image


def test_tables_of_a_record(tmp_path: Path) -> None:
    spec, failed = Spec("compile", "flax", CONFIG), Outcome("resnet_jax", failed="out of memory")
    parts = {"trace": [0.5], "lower": [0.25], "compile": [1.25]}
    deep = Spec("compile", "flax", override(CONFIG, {"model.depth": 56}))
    slow = Outcome("flax", [5.0], {"trace": [1.0], "lower": [1.0], "compile": [3.0]})
    flax = Outcome("flax", [2.0], parts)
    found = [results.result("compile", spec, outcome, flax, []) for outcome in (flax, failed)]
    found.append(results.result("compile", deep, slow, slow, []))
    environment = {"versions": {"jax": "1"}, "device": "A", "processor": "B", "cpu_cores": 2, "code": "c"}
    record = {"schema": 1, "command": "python", "started": "now", "limits": [], "results": found}
    file = tmp_path / "record.json"
    file.write_text(json.dumps({**record, "environment": environment}))
    text = table.render(file)
    assert "| resnet-8 | flax | 0.50 | 0.25 | 1.25 | 2.0 (2.0 to 2.0) | 1.00 (1.00 to 1.00) | 1.00 x resnet-8 |" in text
    assert "| resnet-8 | resnet_jax | failed |" in text
    assert "2.50 x resnet-8 |" in text
    for broken in ({}, {"environment": {**environment, "versions": []}}, {"results": [{"what": "compile"}]}):
        file.write_text(json.dumps({**record, "environment": environment, **broken} if broken else {"schema": 1}))
        with pytest.raises(UserError, match="not a record of"):
            main(["--render", str(file)])
    file.write_text(json.dumps({**record, "environment": environment, "schema": 2}))
    with pytest.raises(UserError, match="got a record of schema 2; legal: schema 1"):
        main(["--render", str(file)])


def test_a_table_of_convolutions() -> None:
    times = {"resnet_jax": [1.0, 2.0, 4.0], "jax": [3.0, 2.0, 20.0]}
    slower = {"resnet_jax": [0.002], "jax": [0.001]}
    rows = results.convolutions({"3x3, A; value; alone": times, "3x3, A; value; in a loop": slower})
    assert rows[0]["median"] == {"resnet_jax": 2.0, "jax": 3.0}
    assert rows[0]["ratio"] == 3.0  # of 3, 1 and 5, round by round
    (printed,) = table.printed({"limits": [], "results": rows})
    assert printed.headings == ("convolution", "value, alone", "value, in a loop")
    assert printed.rows == [("3x3, A", "2,000.00 (3.0)", "2.00 (0.5)")]


def test_a_record_is_printed_however_its_option_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    file = Path(__file__).parents[3] / "experiments" / "records" / "benchmark-1202.json"
    assert main([f"--render={file}"]) == cli.OK
    assert "| resnet-1202 |" in capsys.readouterr().out
