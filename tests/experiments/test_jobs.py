"""What each process of a sweep is given, and that it gets it."""

import os
import signal
import threading
from pathlib import Path

import pytest

from experiments import jobs
from experiments.jobs import Share, deal, gpus


@pytest.mark.parametrize(
    ("cores", "number", "dealt"),
    [([0, 1], 2, [(0,), (1,)]), ([0, 1, 2, 3, 4], 2, [(0, 2, 4), (1, 3)]), ([7], 2, [(7,), (7,)]), ([], 2, [(), ()])],
)
def test_cores_are_dealt_out(cores: list[int], number: int, dealt: list[tuple[int, ...]]) -> None:
    assert [share.cores for share in deal(number, cores)] == dealt
    assert {(share.gpu, share.sharers) for share in deal(number, cores)} == {(None, 1)}


@pytest.mark.parametrize(
    ("names", "number", "dealt"),
    [
        (["0", "1"], 2, [("0", 1), ("1", 1)]),
        (["4", "GPU-ab"], 3, [("4", 2), ("GPU-ab", 1), ("4", 2)]),
        (["0", "1", "2"], 2, [("0", 1), ("1", 1)]),
        (["3"], 3, [("3", 3)] * 3),
    ],
)
def test_gpus_are_dealt_out_in_turn(names: list[str], number: int, dealt: list[tuple[str, int]]) -> None:
    assert [(share.gpu, share.sharers) for share in deal(number, [0], names)] == dealt


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, ["0", "1", "2"]),
        ({"CUDA_VISIBLE_DEVICES": "2, GPU-ab"}, ["2", "GPU-ab"]),
        ({"CUDA_VISIBLE_DEVICES": "1,-1,0"}, ["1"]),
        ({"CUDA_VISIBLE_DEVICES": ""}, []),
        ({"CUDA_VISIBLE_DEVICES": "0", "JAX_PLATFORMS": "cpu"}, []),
        ({"JAX_PLATFORMS": "cuda,cpu"}, ["0", "1", "2"]),
    ],
)
def test_gpus_are_counted_without_jax(environment: dict[str, str], found: list[str], tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidia10", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert gpus(environment, tmp_path) == found


def test_processes_on_one_gpu_share_its_memory() -> None:
    alone, shared = Share((0,), "0"), Share((0,), "0", sharers=2)
    assert alone.environment({"A": "b"}) == {"A": "b", "RESNET_JAX_CORES": "0", "CUDA_VISIBLE_DEVICES": "0"}
    assert shared.environment({})["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.450"
    # What the user has set stands.
    own = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.2"}
    assert shared.environment(own)["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.2"
    assert jobs.describe([shared, shared]).startswith("2 processes on 1 GPU, up to 2 ")
    assert jobs.describe(deal(2, [0], ["0", "1"])) == "2 processes on 2 GPUs, one each."


def test_a_process_gets_its_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    core = jobs.cores()[0]
    (tmp_path / "child.py").write_text(
        "import os, sys\n"
        "from experiments import jobs\n"
        "assert jobs.claim_cores() and 'jax' not in sys.modules\n"
        "print(jobs.cores(), os.environ['CUDA_VISIBLE_DEVICES'], jobs.gpus())\n"
        "sys.exit(int(os.environ['CUDA_VISIBLE_DEVICES']))\n"
    )
    root = Path(jobs.__file__).parent.parent
    monkeypatch.chdir(tmp_path)  # where `python -m` looks first
    monkeypatch.setenv("PYTHONPATH", str(root))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7,9")
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    statuses = jobs.run(["child"], deal(2, [core], gpus()))
    assert statuses == [7, 9]
    assert sorted(capsys.readouterr().out.splitlines()) == [f"[1] [{core}] 7 ['7']", f"[2] [{core}] 9 ['9']"]


STOPPED = """
import signal, sys
def end(number, frame):
    print("kept", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
while True:
    signal.pause()
"""


def test_sigterm_to_the_one_process_ends_the_others_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "child.py").write_text(STOPPED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    heard: list[str] = []
    turn = threading.Lock()  # each process has a thread that tells its lines

    def note(line: str, **_: object) -> None:
        with turn:
            heard.append(line.strip())
            ready = [line for line in heard if "ready" in line]
            if len(ready) == 2 and "sent" not in heard:
                heard.append("sent")
                os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(jobs, "print", note, raising=False)
    with pytest.raises(KeyboardInterrupt, match="the same command runs what is missing"):
        jobs.run(["child"], deal(2, jobs.cores()))
    assert sorted(line for line in heard if "kept" in line) == ["[1] kept", "[2] kept"]
