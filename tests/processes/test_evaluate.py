"""experiments.evaluate by two processes that divide the pictures, beside one process."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from resnet_jax.config import ModelConfig
from resnet_jax.weights import files, preprocessing
from tests.data.pictures import photo
from tests.processes.launch import environment, free_port, start
from tests.weights.factory import random_weights

pytestmark = pytest.mark.slow
CLASSES = ("a", "b", "c")
NET = ModelConfig(family="cifar", depth=8, width=4, num_classes=3)


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """A net, and seven pictures in three classes, so that the processes have unequal shares."""
    net = dataclasses.replace(random_weights(NET, seed=3), preprocessing=preprocessing.per_channel(24, 20))
    files.save(dataclasses.replace(net, class_names=CLASSES), tmp_path / "net")
    for i in range(7):
        folder = tmp_path / "test" / CLASSES[i % 3]
        folder.mkdir(parents=True, exist_ok=True)
        photo(40, 45, i).save(folder / f"{i}.png")
    return ["--weights", str(tmp_path / "net"), str(tmp_path / "test"), "--compiled", str(tmp_path)]


def hand(count: int, i: int, port: int) -> list[str]:
    return [f"--processes={count}", f"--process={i}", f"--coordinator=localhost:{port}"]


def test_two_processes_find_what_one_finds(tmp_path: Path, options: list[str]) -> None:
    port = free_port()
    words = [[*options, "--out", str(tmp_path / f"two{i}.json"), *hand(2, i, port)] for i in range(2)]
    two = start(tmp_path / "two", words, module="experiments.evaluate")
    assert two.wait(600.0) == [0, 0], two.text()
    one = start(tmp_path / "one", [[*options, "--out", str(tmp_path / "one.json")]], module="experiments.evaluate")
    assert one.wait(600.0) == [0], one.text()
    found, expected = (json.loads((tmp_path / name).read_text()) for name in ("two0.json", "one.json"))
    assert found.pop("loss") == pytest.approx(expected.pop("loss"), rel=1e-6)  # sums in another order
    assert found == expected
    assert found["images"] == 7
    assert not (tmp_path / "two1.json").exists()
    assert two.own(1) == []


@pytest.mark.parametrize("what", ["the net", "scales", "the pictures' names, sizes and classes"])
def test_a_process_that_evaluates_something_else_ends_both(what: str, tmp_path: Path, options: list[str]) -> None:
    other = list(options)
    if what == "the net":
        files.save(random_weights(NET, seed=4), tmp_path / "other")
        other[1:2] = [str(tmp_path / "other"), "--labels", "order"]
    elif what == "scales":
        other += ["--protocol", "multi_scale", "--scales", "40"]
        options = [*options, "--protocol", "multi_scale", "--scales", "32"]
    else:
        shutil.copytree(tmp_path / "test", tmp_path / "others")
        photo(40, 45, 8).save(tmp_path / "others" / "a" / "0.png")
        other[2] = str(tmp_path / "others")
    port = free_port()
    words = [[*own, *hand(2, i, port)] for i, own in enumerate((options, other))]
    run = start(tmp_path / "run", words, [environment()] * 2, "experiments.evaluate")
    assert run.wait(600.0) == [2, 2], run.text()
    for i in range(2):
        (said,) = run.errors(i)
        assert said.startswith(f"error: process 1 differs from process 0 in {what}: ")
