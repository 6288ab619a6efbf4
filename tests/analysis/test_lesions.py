"""Lesions against a net written out in NumPy that lacks the block, or has two of them in each other's place."""

from typing import Any

import jax
import numpy as np
import pytest

from resnet_jax.analysis.lesions import NONE, Lesion, Patient, lesioned, plan
from tests.analysis.reference import NumPyNet, examples, small


@pytest.mark.parametrize(("shortcut", "order"), [("A", "original"), ("none", "original"), ("A", "full_preactivation")])
@pytest.mark.usefixtures("x64")
def test_errors_are_those_of_the_net_without_the_blocks(shortcut: str, order: str) -> None:
    model, variables = small(20, shortcut=shortcut, activation_order=order)
    images, labels = examples(10)
    patient = Patient(model, variables, images, labels, batch_size=4)  # the last batch is padded
    assert patient.blocks == ["stage1_block1", *(f"stage{i}_block{j}" for i in (1, 2, 3) for j in (2, 3))]

    def expected(variables: Any, deleted: tuple[str, ...] = ()) -> float:
        return float((NumPyNet(model, variables, deleted=deleted)(images).argmax(1) != labels).mean())

    assert patient.error(NONE) == expected(variables)
    for deleted in (("stage1_block2",), ("stage2_block2", "stage3_block3"), tuple(patient.blocks)):
        assert patient.error(Lesion(deleted=frozenset(deleted))) == expected(variables, deleted)
    other: Any = {name: dict(values) for name, values in variables.items()}
    for values in other.values():
        values["stage2_block2"], values["stage2_block3"] = values["stage2_block3"], values["stage2_block2"]
    assert patient.error(Lesion(swaps=(("stage2_block2", "stage2_block3"),))) == expected(other)
    # Errors are coarse: the logits themselves.
    alive = {"stage1_block2": np.asarray(False), "stage2_block3": np.asarray(True)}
    logits = jax.jit(lambda v: lesioned(model, v, images, alive))(variables)
    np.testing.assert_allclose(logits, NumPyNet(model, variables, deleted=("stage1_block2",))(images), rtol=1e-10)


@pytest.mark.usefixtures("x64")
def test_what_may_be_swapped_and_what_is_planned() -> None:
    model, variables = small(20, activation_order="full_preactivation")
    patient = Patient(model, variables, *examples(4))
    within = {
        ("stage1_block1", "stage1_block2"),
        ("stage1_block1", "stage1_block3"),
        ("stage1_block2", "stage1_block3"),
    }
    assert set(patient.swappable) == {*within, ("stage2_block2", "stage2_block3"), ("stage3_block2", "stage3_block3")}
    planned = plan(patient.blocks, patient.swappable, repeats=4, seed=1)
    assert [one.deleted for (one,) in planned["single"]] == [frozenset({name}) for name in patient.blocks]
    for k, lesions in enumerate(planned["deleted"], start=1):
        assert len(lesions) == 4
        assert all(len(one.deleted) == k and one.deleted <= set(patient.blocks) for one in lesions)
    assert [len(lesions[0].swaps) for lesions in planned["swapped"]] == list(range(1, 8))
    assert planned == plan(patient.blocks, patient.swappable, repeats=4, seed=1)
    assert planned != plan(patient.blocks, patient.swappable, repeats=4, seed=2)
