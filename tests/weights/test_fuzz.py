"""Damaged files end in a sentence; 2,000 of them: python -m tests.weights.fuzz 2000."""

import os

import pytest

from tests.weights.fuzz import KINDS, nothing_run, run


def test_a_started_program_would_be_noticed() -> None:
    with nothing_run() as started, pytest.raises(RuntimeError, match=r"started: os\.system"):
        os.system("true")
    assert started == ["os.system (b'true',)"]
    assert os.system("true") == 0


def test_damaged_files_get_a_sentence() -> None:
    outcomes = run(150, seed=1)
    assert sum(outcomes.values()) == 150
    # A net is read without a damaged preprocessor_config.json, and a remark says so.
    assert all(outcomes[f"{kind}: refused"] > 0 for kind in KINDS if "preprocessor" not in kind)
    # Our own form has a digest of its arrays.
    assert outcomes["net/model.safetensors: read"] == 0
