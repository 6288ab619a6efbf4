"""Damaged files end in a sentence; 2,000 of them: python -m tests.weights.fuzz 2000."""

from __future__ import annotations

from tests.weights.fuzz import KINDS, run


def test_damaged_files_get_a_sentence() -> None:
    outcomes = run(150, seed=1)
    assert sum(outcomes.values()) == 150
    assert all(outcomes[f"{kind}: refused"] > 0 for kind in KINDS)
    # Our own form has a digest of its arrays.
    assert outcomes["net/model.safetensors: read"] == 0
