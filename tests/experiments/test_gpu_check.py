"""The check of a new GPU, on a CPU: a fault injected into one part costs that part alone, with one sentence."""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from experiments import cli
from experiments.benchmark import limits, options, race
from experiments.benchmark.spec import FLAX, OURS, TORCH
from experiments.gpu_check import __main__ as command, parts, tests
from experiments.gpu_check.check import Check
from experiments.gpu_check.parts import Breakdown, Device, DeviceTests, Limits, Part, Race
from experiments.gpu_check.plan import ALL, FULL, SINGLE, SMALL
from resnet_jax.errors import UserError

DEVICE = Device("device", 0.0)
LIMITS = Limits("limits", 0.0, ("float32",), steps=1, repeats=1)
STEP = Race("step", 0.0, "resnet-8", 2, "float32", (SINGLE,), steps=1, repeats=1)
ENVIRONMENT = {"platform": "cpu", "device": "a CPU", "versions": {"jax": "1"}}


def checked(tmp_path: Path, *plan: Part, seconds: float = math.inf) -> tuple[dict[str, Any], list[str]]:
    """The record that a plan leaves, read from its file, and the lines it told."""
    told: list[str] = []
    check = Check("the command", tmp_path / "record.json", seconds)
    check.go(plan, told.append)
    return json.loads((tmp_path / "record.json").read_text()), told


def statuses(record: dict[str, Any]) -> dict[str, str]:
    return {part["part"]: part["status"] for part in record["parts"]}


def sentence(record: dict[str, Any], name: str) -> str:
    """What is told of a part: one line."""
    (text,) = (part["sentence"] for part in record["parts"] if part["part"] == name)
    assert isinstance(text, str)
    assert "\n" not in text
    assert "Traceback" not in text
    return text


class FakeWorker:
    """A contestant's process that answers at once; some names stand for a fault."""

    started: list[str]

    def __init__(self, spec: Any) -> None:
        self.spec = spec
        self.started.append(spec.contestant)

    def read(self, deadline: float = math.inf) -> dict[str, Any]:
        if self.spec.task == "device":
            float32 = [{"operation": "matrix product", "precision": "default", "error": 3e-4, "arithmetic": "TF32"}]
            precision = {"config": "highest", "float32": float32}
            return {"environment": ENVIRONMENT, "found": {"nvidia_smi": {}, "precision": precision}}
        if self.spec.name == FLAX:
            raise race.Failed("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 80 GB.")
        if self.spec.name == "torch-eager" and deadline < math.inf:
            raise race.Late
        return {"environment": ENVIRONMENT, "steps": self.spec.steps}

    def ask(self, word: str, deadline: float = math.inf) -> dict[str, Any]:
        if word == "end":
            return {"facts": {"amount": 10}}
        return {"seconds": 2.0 if self.spec.name == OURS else 4.0, "loss": 2.3}

    def close(self) -> None: ...


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fake contestants. PyTorch counts as installed, whether it is or not: the fast tests run in either case."""
    FakeWorker.started = []
    monkeypatch.setattr(race, "Worker", FakeWorker)
    for module in (limits, options):
        monkeypatch.setattr(module, "has_torch", lambda: True)


@pytest.mark.usefixtures("fake")
def test_without_pytorch_its_contestants_are_missing_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (limits, options):
        monkeypatch.setattr(module, "has_torch", lambda: False)
    both = Race("both", 0.0, "resnet-8", 2, "float32", (OURS, *TORCH), steps=1, repeats=1)
    alone = Race("alone", 0.0, "resnet-8", 2, "float32", TORCH, steps=1, repeats=1)
    record, _ = checked(tmp_path, DEVICE, LIMITS, alone, both)
    assert statuses(record) == {"device": "done", "limits": "done", "alone": "left out", "both": "done"}
    assert sentence(record, "alone") == "PyTorch is not installed"
    assert "resnet_jax 2000.00" in sentence(record, "both")
    assert "PyTorch" in sentence(record, "both")
    assert [row["library"] for row in record["limits"]] == ["jax", "jax"]
    assert FakeWorker.started == ["device", "matrix product, jax", "memory, jax", OURS]


@pytest.mark.usefixtures("fake")
def test_a_peer_without_memory_is_left_out_and_the_others_are_compared(tmp_path: Path) -> None:
    plan = Race("race", 0.0, "resnet-8", 2, "float32", ALL, steps=1, repeats=3, alive=2)
    record, _ = checked(tmp_path, DEVICE, plan)
    assert statuses(record) == {"device": "done", "race": "done"}
    assert "without flax: RESOURCE_EXHAUSTED: Out of memory while trying" in sentence(record, "race")
    rows = {row["contestant"]: row for row in record["results"]}
    assert rows["flax"]["failed"]
    assert rows[OURS]["peer"] == "torch-compiled"
    assert rows[OURS]["ratio"] == 2.0
    assert "TF32" in sentence(record, "device")
    assert "precision asked for: highest" in sentence(record, "device")


@pytest.mark.usefixtures("fake")
def test_a_contestant_that_is_late_is_left_out(tmp_path: Path) -> None:
    late = Race("late", 0.0, "resnet-8", 2, "float32", ("torch-eager",), steps=1, repeats=1)
    both = Race("both", 0.0, "resnet-8", 2, "float32", (OURS, "torch-eager"), steps=1, repeats=1)
    record, _ = checked(tmp_path, DEVICE, late, both, seconds=60.0)
    assert statuses(record) == {"device": "done", "late": "cut", "both": "done"}
    assert "without torch-eager: the time was up" in sentence(record, "both")


@pytest.mark.slow  # two processes that compile
def test_a_step_that_does_not_fit_the_memory_costs_that_part(tmp_path: Path) -> None:
    """For real: the batch of this many images of noise is refused by NumPy, in the process of the contestant."""
    huge = Race("huge", 0.0, "resnet-8", 10**11, "float32", (OURS,), steps=1, repeats=1)
    record, told = checked(tmp_path, DEVICE, huge, STEP)
    assert statuses(record) == {"device": "done", "huge": "failed", "step": "done"}
    assert "MemoryError" in sentence(record, "huge")
    (row,) = [row for row in record["results"] if not row["failed"]]
    assert row["median"] > 0.0
    assert set(row["compile_seconds"]) == {"trace", "lower", "compile"}
    assert record["environment"]["platform"] == "cpu"
    assert {row["arithmetic"] for row in record["device"]["precision"]["float32"]} == {"float32"}
    assert any("huge: failed: " in line for line in told)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another folder of tests, with one that passes, one that fails, and one that takes long."""
    place = tmp_path / "tests"
    place.mkdir()
    (place / "test_device.py").write_text(
        "import time, pytest\n"
        "pytestmark = pytest.mark.gpu\n"
        "def test_right(): pass\n"
        "def test_wrong(): assert 1 + 1 == 3, 'off by one'\n"
        "@pytest.mark.skip(reason='of another device')\n"
        "def test_other(): pass\n"
        "def test_long(): time.sleep(600)\n"
    )
    monkeypatch.setattr(tests, "FOLDER", place)
    return place


@pytest.mark.usefixtures("folder")
def test_a_failing_test_costs_its_part(tmp_path: Path) -> None:
    record, _ = checked(tmp_path, DeviceTests("tests", 0.0, "not long", 1), DeviceTests("right", 0.0, "right", 1))
    assert statuses(record) == {"tests": "failed", "right": "done"}
    assert "test_wrong: AssertionError: off by one" in sentence(record, "tests")
    assert sentence(record, "right") == "1 passed"
    assert [(test["name"].rpartition("::")[2], test["status"]) for test in record["tests"]] == [
        ("test_right", "passed"),
        ("test_wrong", "failed"),
        ("test_other", "skipped"),
        ("test_right", "passed"),
    ]


@pytest.mark.slow  # waits for ten seconds
@pytest.mark.usefixtures("folder")
def test_tests_that_take_too_long_are_cut(tmp_path: Path) -> None:
    plan = DeviceTests("tests", 0.0, "test_right or test_long", 1)
    with pytest.raises(parts.Cut, match=r"^the time was up; (1 passed|no test ended)$"):
        plan.run({"environment": {}, "tests": []}, time.monotonic() + 10.0, lambda line: None)


def test_those_that_ended_before_a_cut_count() -> None:
    """What pytest prints as it goes, and its summary where it comes to one."""
    output = (
        "scheduling tests via LoadScheduling\n\ntests/gpu/test_a.py::test_right \n"
        "[gw0] [ 50%] PASSED tests/gpu/test_a.py::test_right \n"
        "[gw1] [ 75%] FAILED tests/gpu/test_a.py::test_wrong[a-b] \ntests/gpu/test_a.py::test_long "
    )
    right, wrong = tests.read(output)
    assert (right.name, right.status) == ("tests/gpu/test_a.py::test_right", "passed")
    assert (wrong.status, wrong.message, wrong.bad) == ("failed", "", True)
    _, wrong = tests.read(f"{output}\nFAILED tests/gpu/test_a.py::test_wrong[a-b] - ValueError: no\n")
    assert wrong.message == "ValueError: no"


def test_tests_that_are_not_there_are_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "does not exist; run this command in a checkout" in tests.missing(tmp_path / "nowhere")
    assert tests.missing(tests.FOLDER) == ""
    monkeypatch.setattr(tests, "NEEDED", ("pytest", "no_such_module"))
    assert tests.missing(tests.FOLDER) == "no_such_module is not installed: pip install -e '.[test]'"


def test_parts_that_do_not_fit_the_budget_are_left_out(tmp_path: Path) -> None:
    hungry = Breakdown("breakdown", 1e6, "resnet-8", 2, "float32", steps=1)
    record, _ = checked(tmp_path, hungry, seconds=1000.0)
    assert statuses(record) == {"breakdown": "left out"}
    assert sentence(record, "breakdown").endswith("it takes 1000000 s or more")


def test_a_real_process_is_cut_at_the_deadline(tmp_path: Path) -> None:
    breakdown = Breakdown("breakdown", 0.0, "resnet-8", 2, "float32", steps=1)
    for part in (STEP, breakdown):
        record, _ = checked(tmp_path, part, seconds=0.05)
        assert statuses(record) == {part.name: "cut"}
        assert "the time was up" in sentence(record, part.name)


def test_a_defect_costs_its_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> str:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(Limits, "run", broken)
    monkeypatch.setattr(Device, "run", lambda *arguments: "fine")
    record, _ = checked(tmp_path, LIMITS, DEVICE)
    assert statuses(record) == {"limits": "failed", "device": "done"}
    assert "ZeroDivisionError: division by zero" in sentence(record, "limits")


@pytest.mark.usefixtures("fake")
def test_the_command_on_a_cpu_has_the_small_parts_in_their_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DeviceTests, "run", lambda *arguments: "12 passed")
    monkeypatch.setattr(Breakdown, "run", lambda *arguments: "nothing")
    out = tmp_path / "deep" / "record.json"
    assert command.main(["--out", str(out)]) == cli.OK
    record = json.loads(out.read_text())
    assert list(statuses(record)) == [part.name for part in SMALL]
    assert set(statuses(record).values()) == {"done"}
    assert record["command"] == f"python -m experiments.gpu_check --out {out}"
    shown = capsys.readouterr().out
    assert "resnet-8, 32x32x3, batch 4, float32, train step" in shown
    assert "float32 on this device" in shown
    assert command.main(["--only", "resume", "--out", str(out)]) == cli.OK
    assert list(statuses(json.loads(out.read_text()))) == ["device", "resume"]


@pytest.mark.usefixtures("fake")
def test_on_a_gpu_the_papers_nets_at_their_batch_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENVIRONMENT, "platform", "gpu")
    for kind in (DeviceTests, Breakdown):
        monkeypatch.setattr(kind, "run", lambda *arguments: "fine")
    check = Check("the command", tmp_path / "record.json")
    check.go(None, lambda line: None)
    assert [part["part"] for part in check.record["parts"]] == [part.name for part in FULL]
    cases = {(row["net"], row["dtype"]): row["batch_size"] for row in check.record["results"]}
    assert cases == {
        **{(f"resnet-{depth}", dtype): 128 for depth in (20, 56, 110) for dtype in ("float32", "bfloat16")},
        **{("resnet-50", dtype): 256 for dtype in ("float32", "bfloat16")},
        ("resnet-1202", "float32"): 128,
    }
    assert not check.failed


MISTAKES = [
    (["--seconds", "0"], "seconds: got 0.0; legal: a number above 0."),
    (["--only", "resnet-20-float23"], "did you mean 'resnet-20-float32'"),
    (["--out", "."], ". is a folder"),
]


@pytest.mark.parametrize(("options", "message"), MISTAKES)
def test_a_mistake_is_told_before_anything_is_measured(options: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        command.main(options)


BLOCKED = ("tensorflow_datasets", "tensorflow", "torch")


@pytest.mark.slow
def test_nothing_needs_tensorflow_or_its_data_sets(tmp_path: Path) -> None:
    """The command and the tests that it runs, in processes for which importing them is an error."""
    for name in BLOCKED:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise ModuleNotFoundError('blocked: {name}')\n")
    path = os.pathsep.join([str(tmp_path), str(tests.ROOT)])
    environment = {**os.environ, "PYTHONPATH": path, "JAX_PLATFORMS": "cpu"}
    words = ["-m", "experiments.gpu_check", "--out", str(tmp_path / "record.json")]
    words += ["--only", "breakdown", "resnet-1202-float32"]
    done = subprocess.run(
        [sys.executable, *words], env=environment, cwd=tests.ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((tmp_path / "record.json").read_text())
    assert statuses(record) == {"device": "done", "breakdown": "done", "resnet-1202-float32": "done"}
    assert [row["steps_per_dispatch"] for row in record["breakdown"]] == [1, 2]
    assert all(row["step"] > 0.0 and row["kernels"] > 0.0 for row in record["breakdown"])
    collected = subprocess.run(
        [sys.executable, "-m", "pytest", str(tests.FOLDER), "--collect-only", "--numprocesses=0"],
        env=environment,
        cwd=tests.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert collected.returncode == 0, collected.stdout


@pytest.mark.usefixtures("fake")
def test_a_gpu_that_jax_does_not_use_fails_the_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = FakeWorker.read

    def with_a_gpu(self: FakeWorker, deadline: float = math.inf) -> dict[str, Any]:
        answer = read(self, deadline)
        answer["found"]["nvidia_smi"] = {"name": "NVIDIA H100", "driver_version": "550"}
        return answer

    monkeypatch.setattr(FakeWorker, "read", with_a_gpu)
    record, _ = checked(tmp_path, DEVICE)
    assert statuses(record) == {"device": "failed"}
    assert "NVIDIA H100, and jax 1 computes on the CPU" in sentence(record, "device")


@pytest.mark.usefixtures("fake")
def test_a_part_of_another_device_is_named(tmp_path: Path) -> None:
    elsewhere = next(part.name for part in FULL if part.name not in {small.name for small in SMALL})
    check = Check("the command", tmp_path / "record.json", only=(elsewhere,))
    check.go(None, lambda line: None)
    assert list(statuses(check.record).values()) == ["done", "failed"]
    assert check.failed
