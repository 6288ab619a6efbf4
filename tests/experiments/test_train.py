"""What experiments.train does besides training: a summary with memory, and a trace."""

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from experiments import cli, machine
from experiments.machine import use_compilation_cache
from experiments.preview import TRACED, WARM
from experiments.train import main
from resnet_jax.errors import UserError
from resnet_jax.record import read_record

SMALL = ("digits-resnet", "--model.depth=8", "--model.width=2", "--train.batch-size=16")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test starts in an empty folder."""
    monkeypatch.chdir(tmp_path)


def test_a_trace_of_a_few_steps_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "use_compilation_cache", lambda runs: pytest.fail("programs are kept"))
    assert main([*SMALL, "--profile", "trace"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["trace"]  # no run directory
    (folder,) = (tmp_path / "trace" / "plugins" / "profile").iterdir()
    assert list(folder.glob("*.xplane.pb"))  # TensorBoard's
    printed = capsys.readouterr().out
    (file,) = re.findall(r"open (\S+) at https://ui\.perfetto\.dev", printed)
    assert "tensorboard --logdir trace" in printed
    trace: Any = json.loads(gzip.decompress(Path(file).read_bytes()))
    steps = {int(e["args"]["step_num"]) for e in trace["traceEvents"] if e.get("name") == "train_step"}
    assert steps == set(range(WARM + 1, WARM + TRACED + 1))


def test_the_help_of_profile_states_its_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["digits-resnet", "--help"])
    words = re.sub(r"[\s│]+", " ", capsys.readouterr().out)
    assert f"profile of {TRACED} train steps (after {WARM} other steps)" in words


def test_a_file_where_the_trace_should_go_is_found_before_anything_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trace").write_text("no folder")
    monkeypatch.setattr("resnet_jax.training.program.prepare", lambda *_: pytest.fail("compiled"))
    with pytest.raises(UserError, match=r"profile: trace is a file; legal: a folder\."):
        main([*SMALL, "--profile", "trace"])


def test_the_summary_puts_the_compilers_memory_beside_the_formulas(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SMALL, "--train.batch-size=1024", "--model.remat", "--summary"]) == 0
    printed = capsys.readouterr().out
    assert "1024 images at once" in printed
    numbers = {line.split("│")[1].strip(): line.split("│")[2].strip() for line in printed.splitlines() if "│" in line}
    # 928 numbers of 4 bytes for each image, as tests/models/test_summary.py counts them by hand.
    assert numbers["activations kept for the backward pass, with remat"] == "3.8"
    assert float(numbers["compiler: temporaries (gradients, activations, scratch)"]) > 3.0
    assert float(numbers["compiler: arguments (state, images on the device)"]) > 0.05
    assert list(tmp_path.iterdir()) == []


def test_a_summary_stands_without_the_devices_of_its_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--parallel.devices=16", "--summary"]) == 0
    printed = capsys.readouterr().out
    assert "training, on each device, 1 image at once" in printed
    assert "No estimate of the compiler: parallel.devices: got 16; legal: 1 to 8" in printed


@pytest.fixture
def compiled_beside_the_runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The command's own folder of compiled programs in place of the tests'.

    It keeps every program. By itself the command keeps those that take a tenth of a second, which depends on what else
    the machine does.
    """

    def keep_all(runs: Path) -> None:
        use_compilation_cache(runs)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

    before = jax.config.jax_compilation_cache_dir
    monkeypatch.setattr(machine, "use_compilation_cache", keep_all)
    compilation_cache.reset_cache()
    yield
    jax.config.update("jax_compilation_cache_dir", before)
    compilation_cache.reset_cache()


@pytest.mark.usefixtures("compiled_beside_the_runs")
def test_the_second_seed_of_a_net_compiles_nothing(tmp_path: Path) -> None:
    """By JAX's own count: what it did not find among the compiled programs beside the runs."""
    events: list[str] = []

    def listen(event: str, **_: Any) -> None:
        events.append(event.rsplit("/", 1)[-1])

    counts = []
    jax.monitoring.register_event_listener(listen)
    try:
        for seed in (0, 1):
            jax.clear_caches()  # as in a process of its own
            events.clear()
            assert main([*SMALL, "--train.iterations=2", "--optim.milestones", "1", f"--seed={seed}"]) == 0
            counts.append((events.count("cache_hits"), events.count("cache_misses")))
    finally:
        jax.monitoring.unregister_event_listener(listen)
    (_, first), (hits, second) = counts
    assert (tmp_path / "runs" / ".compiled").exists()
    assert first > 0
    assert hits > 0
    assert second == 0, counts


TINY = (*SMALL, "--train.iterations=2", "--train.eval-batch-size=360", "--optim.milestones")


def test_a_run_that_diverges_has_a_status_of_its_own(tmp_path: Path) -> None:
    assert main([*TINY, "--train.iterations=20", "--optim.learning-rate=1e30", "--directory=there"]) == cli.DIVERGED
    assert read_record(tmp_path / "there" / "record.json").status == "diverged"


def test_a_finished_run_says_that_nothing_was_trained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY]) == 0
    assert "nothing was trained" not in capsys.readouterr().out
    # In the same directory, since devices and checkpoints have no effect on the result.
    assert main([*TINY, "--parallel.devices=2", "--parallel.mode=pmap", "--train.checkpoint-steps=1"]) == 0
    assert "This run was already finished; nothing was trained." in capsys.readouterr().out
    (run,) = Path("runs/digits-resnet").iterdir()
    assert "devices" not in run.name


def test_a_path_typed_in_full_or_not_is_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directories = []

    def instead(config: Any, directory: Path, **_: Any) -> Any:
        directories.append(directory)
        raise UserError("seen")

    monkeypatch.setattr("experiments.train.train", instead)
    for path in ("arrays/a.npz", "./arrays/../arrays/a.npz", str(tmp_path / "arrays" / "a.npz"), "b.npz"):
        with pytest.raises(UserError, match="seen"):
            main(["cifar10-resnet", "--data.source=npz", f"--data.path={path}"])
    assert len(set(directories[:3])) == 1
    assert directories[3] != directories[0]


def test_a_summary_stands_without_a_data_set_whose_shape_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """ResNet-20 has 269,722 parameters, the 0.27M of the paper's table 6."""
    words = ["cifar10-resnet", "--model.depth=20", f"--data.path={tmp_path / 'nowhere'}", "--summary"]
    # On more devices than there are, so that nothing is compiled for the figures of memory.
    assert main([*words, "--parallel.devices=64", "--train.batch-size=4096"]) == 0
    printed = capsys.readouterr().out
    assert "The data are not here (cifar10: not prepared in" in printed
    assert "32 x 32 x 3" in printed
    assert "269,722" in printed
    assert list(tmp_path.iterdir()) == []


def test_a_summary_needs_a_folder_of_images_whose_shape_nothing_else_tells(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.path: .*nowhere"):
        main(["folder-resnet", f"--data.path={tmp_path / 'nowhere'}", "--summary"])
