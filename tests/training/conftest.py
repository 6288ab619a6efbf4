"""Runs of one configuration share their data and compiled steps, within a file of tests."""

from collections.abc import Iterator

import pytest

from tests.training import shared


@pytest.fixture(scope="module", autouse=True)
def _prepared_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("resnet_jax.training.run.prepare", shared.prepare_once)
        yield
    shared.forget()
