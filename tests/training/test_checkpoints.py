"""Checkpoints against what was saved, and against every way of going bad that can be done to files."""

import contextlib
import random
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from resnet_jax.errors import UserError
from resnet_jax.training.checkpoints import Checkpoints
from resnet_jax.training.metrics import Totals


class State(NamedTuple):
    step: Any
    params: Any


def state(step: int) -> State:
    draw = np.random.default_rng(step)
    params = {"kernel": draw.normal(size=(3, 3, 4, 8)).astype(np.float32), "bias": draw.normal(size=(8,))}
    return State(np.int32(step), params)


def filled(directory: Path, steps: tuple[int, ...] = (10, 20), **options: int) -> Checkpoints:
    """A folder with checkpoints of these steps."""
    notes: list[str] = []
    checkpoints = Checkpoints(directory, **{"keep": 5} | options, note=notes.append)  # type: ignore[arg-type]
    for step in steps:
        checkpoints.save(state(step), Totals(0.1 * step, step, 10 * step), "data")
    checkpoints.wait()
    checkpoints.notes = notes  # type: ignore[attr-defined]
    return checkpoints


def equal(a: Any, b: Any) -> bool:
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.asarray(x).dtype == np.asarray(y).dtype and np.array_equal(x, y) for x, y in pairs)


def test_what_comes_back_is_what_was_saved(tmp_path: Path) -> None:
    restored = filled(tmp_path / "checkpoints").restore(state(0), "data")
    assert restored is not None
    assert equal(restored[0], state(20))
    assert restored[1] == Totals(0.1 * 20, 20, 200)


def test_there_is_none_where_none_was_saved(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "nowhere", keep=1).restore(state(0), "data") is None
    assert list(tmp_path.iterdir()) == []


def test_training_may_overwrite_a_state_while_it_is_written(tmp_path: Path) -> None:
    checkpoints, mine = Checkpoints(tmp_path, keep=1), state(3)
    checkpoints.save(mine, Totals(), "data")
    mine.params["kernel"][:] = np.nan
    restored = checkpoints.restore(state(0), "data")
    assert restored is not None
    assert equal(restored[0], state(3))


@pytest.mark.parametrize(
    ("keep", "keep_every", "kept"), [(1, 0, [60]), (2, 0, [50, 60]), (2, 20, [20, 40, 50, 60]), (9, 0, None)]
)
def test_the_newest_are_kept_and_every_so_many(
    tmp_path: Path, keep: int, keep_every: int, kept: list[int] | None
) -> None:
    steps = (10, 20, 30, 40, 50, 60)
    assert filled(tmp_path, steps, keep=keep, keep_every=keep_every).steps() == (kept or list(steps))


def test_every_single_flipped_bit_is_found(tmp_path: Path) -> None:
    """200 of them, anywhere in a checkpoint: each time the one before is used, and it is said."""
    whole = tmp_path / "whole"
    filled(whole)
    files = sorted(p.relative_to(whole) for p in (whole / "20").rglob("*") if p.is_file())
    sizes = [(whole / file).stat().st_size for file in files]
    draw = random.Random(0)
    for number in range(200):
        place = tmp_path / "flipped"
        shutil.copytree(whole, place)
        # Half of them in proportion to size, so mostly in arrays; half in any file alike, so often in a small one.
        (file,) = draw.choices(files, weights=sizes if number % 2 else None)
        content = bytearray((place / file).read_bytes())
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        (place / file).write_bytes(content)
        notes: list[str] = []
        restored = Checkpoints(place, keep=5, note=notes.append).restore(state(0), "data")
        assert restored is not None, file
        assert equal(restored[0], state(10)), file
        (sentence,) = notes
        assert "20: damaged (" in sentence, file
        assert "renamed to 20.damaged; the run continues from step 10" in sentence, file
        shutil.rmtree(place)


def test_every_truncated_or_missing_file_is_found(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    filled(whole)
    files = [p.relative_to(whole) for p in (whole / "20").rglob("*") if p.is_file()]
    assert len(files) > 3
    for file in files:
        for keep in (None, 0, 1):
            place = tmp_path / "cut"
            shutil.copytree(whole, place)
            if keep is None:
                (place / file).unlink()
            else:
                content = (place / file).read_bytes()
                (place / file).write_bytes(content[: keep * len(content) // 2])
            if (place / file).exists() and (place / file).read_bytes() == (whole / file).read_bytes():
                shutil.rmtree(place)
                continue  # an empty file cannot be cut
            restored = Checkpoints(place, keep=5).restore(state(0), "data")
            assert restored is not None, file
            assert equal(restored[0], state(10)), file
            shutil.rmtree(place)


def test_a_leaf_is_checked_after_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files as written, and another value out of them."""
    import orbax.checkpoint as ocp

    checkpoints = filled(tmp_path)
    original = ocp.Checkpointer.restore

    def other(self: Any, place: Path, *arguments: Any, **options: Any) -> Any:
        read = original(self, place, *arguments, **options)
        if "20" in place.parts:
            read.params["kernel"][1, 1, 1, 1] = np.nextafter(read.params["kernel"][1, 1, 1, 1], np.float32(9))
        return read

    monkeypatch.setattr(ocp.Checkpointer, "restore", other)
    restored = checkpoints.restore(state(0), "data")
    assert restored is not None
    assert equal(restored[0], state(10))
    assert "(.params['kernel'] has changed)" in checkpoints.notes[0]  # type: ignore[attr-defined]


def test_a_damaged_one_put_aside_makes_room_for_its_step(tmp_path: Path) -> None:
    checkpoints = filled(tmp_path)
    (tmp_path / "20" / "manifest").write_bytes(b"")
    checkpoints.restore(state(0), "data")
    assert checkpoints.steps() == [10]
    assert (tmp_path / "20.damaged").is_dir()
    checkpoints.save(state(20), Totals(), "data")
    restored = checkpoints.restore(state(0), "data")
    assert restored is not None
    assert equal(restored[0], state(20))


def test_with_none_left_to_read_the_user_decides(tmp_path: Path) -> None:
    checkpoints = filled(tmp_path)
    for step in ("10", "20"):
        (tmp_path / step / "manifest").unlink()
    with pytest.raises(UserError, match=r"no checkpoint here can be read \(the newest, 20: manifest: No such file"):
        checkpoints.restore(state(0), "data")
    assert checkpoints.steps() == [10, 20]  # nothing is touched


def test_a_half_written_one_is_none(tmp_path: Path) -> None:
    checkpoints = filled(tmp_path)
    shutil.copytree(tmp_path / "20", tmp_path / "30.unfinished")
    restored = checkpoints.restore(state(0), "data")
    assert restored is not None
    assert equal(restored[0], state(20))
    checkpoints.save(state(40), Totals(), "data")
    checkpoints.wait()
    assert not (tmp_path / "30.unfinished").exists()


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"kernel": np.zeros((3, 3, 4, 9), np.float32), "bias": np.zeros(8)}, r"'kernel'\] is float32\[3, 3, 4, 8\]"),
        ({"kernel": np.zeros((3, 3, 4, 8), np.float16), "bias": np.zeros(8)}, r"and float16\[3, 3, 4, 8\] in this run"),
        (
            {"kernel": np.zeros((3, 3, 4, 8), np.float32)},
            r"'bias'\] is float64\[8\] in the checkpoint and missing in this run",
        ),
        (
            {"kernel": np.zeros((3, 3, 4, 8), np.float32), "bias": np.zeros(8), "a": np.zeros(2)},
            r"'a'\] is missing in the checkpoint and float64\[2\] in this run",
        ),
    ],
)
def test_one_of_another_model_is_named_with_the_first_leaf_that_differs(
    tmp_path: Path, other: Any, sentence: str
) -> None:
    with pytest.raises(UserError, match=r"20: a checkpoint of another model: \.params\[.*" + sentence):
        filled(tmp_path).restore(State(np.int32(0), other), "data")


def test_one_of_other_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError,
        match="a run on other data: the fingerprint of the data is data in the checkpoint and others in this run",
    ):
        filled(tmp_path).restore(state(0), "others")


def test_one_of_another_run_is_refused_with_the_field_that_differs(tmp_path: Path) -> None:
    mine = Checkpoints(tmp_path, keep=1, run={"seed": 1, "model.depth": 8})
    mine.save(state(10), Totals(), "data")
    mine.close()
    with pytest.raises(
        UserError, match=r"10: a checkpoint of another run: seed is 1 in the checkpoint and 0 in this run"
    ):
        Checkpoints(tmp_path, keep=1, run={"seed": 0, "model.depth": 8}).restore(state(0), "data")
    # A field that one of the two does not have is no difference: a later version may have more.
    assert Checkpoints(tmp_path, keep=1, run={"seed": 1, "new": 3}).restore(state(0), "data") is not None


def test_a_step_that_has_its_checkpoint_is_not_written_again(tmp_path: Path) -> None:
    checkpoints = filled(tmp_path, keep=1)
    before = {p: p.stat().st_ino for p in tmp_path.rglob("*")}
    checkpoints.save(state(20), Totals(), "data")
    checkpoints.wait()
    again = Checkpoints(tmp_path, keep=1)
    again.restore(state(0), "data")
    again.save(state(20), Totals(), "data")
    again.wait()
    assert {p: p.stat().st_ino for p in tmp_path.rglob("*")} == before


def test_a_checkpoint_half_deleted_is_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the process were killed while it deletes an old one: its folder no longer bears the name of a step."""
    checkpoints, original = filled(tmp_path, (10, 20), keep=2), shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", lambda path: (next(Path(path).rglob("d/*")).unlink(), path)[1])
    checkpoints.save(state(30), Totals(), "data")
    checkpoints.wait()
    monkeypatch.setattr(shutil, "rmtree", original)
    assert checkpoints.steps() == [20, 30]
    again = Checkpoints(tmp_path, keep=2)
    again.save(state(40), Totals(), "data")
    again.wait()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["30", "40"]


@contextlib.contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """The kernel refuses to write more to a file, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# Where its writer fails, orbax leaves coroutines that nobody waits for.
LOUD = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@LOUD
@pytest.mark.parametrize("room", [0, 100, 1500])
def test_a_disk_that_is_full_is_told_once_and_costs_nothing_kept(tmp_path: Path, room: int) -> None:
    checkpoints = filled(tmp_path)
    with no_file_larger_than(room):
        checkpoints.save(state(30), Totals(), "data")  # returns at once: the writer has not failed yet
        with pytest.raises(UserError, match=r"30: the checkpoint could not be written \(.+\); earlier checkpoints are"):
            checkpoints.wait()
    assert checkpoints.steps() == [10, 20]
    restored = checkpoints.restore(state(0), "data")
    assert restored is not None
    assert equal(restored[0], state(20))
    checkpoints.save(state(30), Totals(), "data")  # there is room again
    checkpoints.wait()
    assert checkpoints.steps() == [10, 20, 30]


def test_a_disk_without_room_is_found_before_a_byte_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = filled(tmp_path)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state(30)))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(size, 1, size - 1))  # type: ignore[attr-defined]
    checkpoints.save(state(30), Totals(), "data")
    with pytest.raises(UserError, match=r"30: the checkpoint could not be written \(No space left on device\)"):
        checkpoints.wait()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["10", "20"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    checkpoints = Checkpoints(tmp_path / "file" / "checkpoints", keep=1)
    checkpoints.save(state(1), Totals(), "data")
    with pytest.raises(UserError, match=r"checkpoints/1: the checkpoint could not be written \(Not a directory\)"):
        checkpoints.wait()
