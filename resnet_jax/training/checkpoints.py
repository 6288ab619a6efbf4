"""Checkpoints of a run: the training state, and the sums of loss and errors over the current epoch.

A checkpoint is a folder named after its step:

| entry      | content                                                                                |
|------------|----------------------------------------------------------------------------------------|
| `arrays/`  | the state, written by orbax                                                            |
| `manifest` | step, sums, fingerprint of the data, SHA-256 of each leaf and of each file             |

A checkpoint is written under another name, flushed to the disk and then renamed, so a folder named after a step is
complete. The checksums reveal later damage; Orbax alone would restore changed bits without an error. The first line of
the manifest is a checksum of its other lines.
"""

import dataclasses
import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from resnet_jax.config import ExperimentConfig, flatten, to_dict
from resnet_jax.errors import UserError
from resnet_jax.record import PLACES
from resnet_jax.text import reason
from resnet_jax.training import processes
from resnet_jax.training.manifest import MANIFEST, Damaged, digests, flush, flush_entry, sealed, unsealed
from resnet_jax.training.metrics import Totals
from resnet_jax.types import Tree

ARRAYS, DAMAGED, UNFINISHED = "arrays", ".damaged", ".unfinished"


def identity(config: ExperimentConfig) -> dict[str, Any]:
    """The values that identify a run, by dotted field name, with milestones and warm-up in iterations.

    All fields are included, with three exceptions:

    - paths of images;
    - fields without effect;
    - operational fields, such as the number of devices. Their values may change when a run is resumed.
    """
    values = flatten(to_dict(config.in_iterations()))
    left_out = {*config.operational, *PLACES, *config.without_effect()}
    return {name: value for name, value in values.items() if name not in left_out}


def steps_in(directory: Path) -> list[int]:
    """The steps of the checkpoints in a folder, in rising order; empty if the folder does not exist."""
    if not directory.is_dir():
        return []
    return sorted(int(entry.name) for entry in directory.iterdir() if entry.name.isdecimal())


class Checkpoints:
    """The checkpoints of a run, one for each saved step.

    They hold NumPy arrays, so a run can be resumed with another parallel mode or other devices.
    """

    def __init__(
        self,
        directory: Path,
        *,
        keep: int,
        keep_every: int = 0,
        run: Mapping[str, Any] | None = None,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Starts the thread that writes checkpoints. Only one process at a time may write to the folder.

        Args:
          directory: the folder; it is made by the first save.
          keep: number of newest checkpoints to keep.
          keep_every: an older checkpoint is also kept if its step is a multiple of this number. With 0, no older
            checkpoint is kept.
          run: the values that identify the run, from `identity`; a checkpoint with other values is refused.
          note: called with one sentence for each damaged checkpoint.
        """
        self._directory, self._keep, self._keep_every, self._note = directory, keep, keep_every, note
        self._run = dict(run or {})
        self._newest: int | None = None
        """The step last saved or restored."""
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None

    def save(self, state: Tree, totals: Totals, data: str) -> None:
        """Copies a state and returns. A thread writes the copy while training continues.

        `state` is on the host. `totals` are the sums over the current epoch so far, and `data` is the fingerprint of
        the training data.

        Raises:
          UserError: the previous checkpoint could not be written.
        """
        self.wait()
        step = int(state.step)
        if step == self._newest:
            return  # the step has a checkpoint already
        # A copy, because on a CPU the host's array is the device's buffer, which the next step overwrites.
        copy = jax.tree.map(lambda x: np.array(x, copy=True), state)
        facts = {"step": step, "data": data, "run": self._run, "totals": dataclasses.asdict(totals)}
        self._writing = self._writer.submit(self._write, copy, facts)
        self._newest = step

    def wait(self) -> None:
        """Waits until the last checkpoint is on the disk.

        Raises:
          UserError: the checkpoint could not be written; earlier checkpoints are unchanged.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            try:
                writing.result()
            except UserError:
                self._newest = None
                raise

    def restore(self, like: Tree, data: str, *, rename_damaged: bool = True) -> tuple[Tree, Totals] | None:
        """Reads the newest undamaged checkpoint: the state, and the sums over the current epoch.

        Returns None if the folder has no checkpoint. Damaged checkpoints that are newer are reported to `note`. With
        `rename_damaged` they are also renamed to `<step>.damaged`.

        `like` has the structure, shapes and dtypes of the state. `data` is the fingerprint of the training data.

        Raises:
          UserError: all checkpoints are damaged.
          UserError: the newest undamaged checkpoint belongs to another run, another model or other training data.
        """
        self.wait()
        steps = self.steps()
        damaged: list[tuple[Path, str]] = []
        for step in reversed(steps):
            place = self._directory / str(step)
            try:
                state, facts = _read(place, like)
            except Damaged as error:
                damaged.append((place, str(error)))
                continue
            for name in facts["run"].keys() & self._run.keys():
                there, here = facts["run"][name], self._run[name]
                if there != here:
                    raise UserError(
                        f"{place}: a checkpoint of another run: {name} is {there!r} in the checkpoint "
                        f"and {here!r} in this run."
                    )
            if facts["data"] != data:
                raise UserError(
                    f"{place}: a checkpoint of a run on other data: the fingerprint of the data is {facts['data']} in "
                    f"the checkpoint and {data} in this run; put back the earlier data, or choose another directory."
                )
            for bad, why in damaged:
                aside = bad.with_name(bad.name + DAMAGED)
                if rename_damaged:
                    shutil.rmtree(aside, ignore_errors=True)
                    bad.rename(aside)
                done = f"renamed to {aside.name}; " * rename_damaged
                self._note(f"{bad}: damaged ({why}); {done}the run continues from step {step}.")
            self._newest = step
            return state, Totals(**facts["totals"])
        if damaged:
            bad, why = damaged[0]
            raise UserError(
                f"{self._directory}: no checkpoint here can be read (the newest, {bad.name}: {why}); delete this "
                f"folder to run anew."
            )
        return None

    def steps(self) -> list[int]:
        """The steps of the existing checkpoints, in rising order."""
        return steps_in(self._directory)

    def close(self) -> None:
        """Waits for the thread that writes checkpoints, and ends it."""
        self._writer.shutdown(wait=True)

    def _write(self, state: Tree, facts: dict[str, Any]) -> None:
        place = self._directory / str(facts["step"])
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            # The incomplete checkpoint of a killed process.
            for leftover in self._directory.glob(f"*{UNFINISHED}"):
                shutil.rmtree(leftover)
            # Checked here, because Orbax would print a traceback.
            if shutil.disk_usage(self._directory).free < sum(leaf.nbytes for leaf in jax.tree.leaves(state)):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            unfinished = place.with_name(place.name + UNFINISHED)
            with _checkpointer() as checkpointer:
                checkpointer.save(unfinished.absolute() / ARRAYS, args=ocp.args.StandardSave(state))
            leaves = {name: _describe(leaf) for name, leaf in _named(state)}
            (unfinished / MANIFEST).write_bytes(sealed(facts | {"leaves": leaves, "files": digests(unfinished)}))
            flush(unfinished)
            unfinished.rename(place)
            flush_entry(self._directory)
            self._prune()
        except (OSError, ValueError) as error:  # Orbax reports errors of its writer as ValueError
            raise UserError(
                f"{place}: the checkpoint could not be written ({reason(error)}); earlier checkpoints are unchanged."
            ) from error

    def _prune(self) -> None:
        for step in self.steps()[: -self._keep]:
            if not (self._keep_every and step % self._keep_every == 0):
                # Renamed first, so that a kill during the deletion does not leave an incomplete checkpoint.
                old = self._directory / f"{step}.old{UNFINISHED}"
                (self._directory / str(step)).rename(old)
                shutil.rmtree(old)


def _read(place: Path, like: Tree) -> tuple[Tree, dict[str, Any]]:
    """Reads the state and the manifest of a checkpoint.

    Raises:
      Damaged: the checkpoint has changed since it was written.
      UserError: the checkpoint has another model than `like`.
    """
    facts = unsealed(place / MANIFEST)
    try:
        found = digests(place)
    except OSError as error:
        raise Damaged(reason(error)) from error
    for name, digest in facts["files"].items():
        if found.get(name) != digest:
            raise Damaged(f"{name} has changed" if name in found else f"{name} is missing")
    _check_alike(facts["leaves"], like, place)
    try:
        with _checkpointer() as checkpointer:
            state = checkpointer.restore(
                place.absolute() / ARRAYS, args=ocp.args.StandardRestore(jax.tree.map(np.asarray, like))
            )
    except (ValueError, KeyError, OSError) as error:
        raise Damaged(reason(error)) from error
    for name, leaf in _named(state):
        if _describe(leaf) != facts["leaves"][name]:
            raise Damaged(f"{name} has changed")
    return state, facts


def _checkpointer() -> ocp.Checkpointer:
    """Orbax's reader and writer of checkpoints, for process 0 only. It must not wait for other processes."""
    if processes.count() == 1:
        return ocp.Checkpointer(ocp.StandardCheckpointHandler())
    own = ocp.options.MultiprocessingOptions(
        primary_host=0, active_processes={0}, barrier_sync_key_prefix="resnet_jax_primary"
    )
    return ocp.Checkpointer(ocp.StandardCheckpointHandler(multiprocessing_options=own), multiprocessing_options=own)


def _named(tree: Tree) -> list[tuple[str, Any]]:
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]


def _describe(leaf: Any) -> dict[str, Any]:
    array = np.ascontiguousarray(leaf)
    digest = hashlib.sha256(array.data if array.size else b"").hexdigest()
    return {"dtype": str(array.dtype), "shape": list(np.shape(leaf)), "sha256": digest}


def _check_alike(leaves: dict[str, Any], like: Tree, place: Path) -> None:
    wanted = dict(_named(like))
    for name in sorted(leaves.keys() | wanted.keys()):
        there = _kind(leaves[name]["dtype"], leaves[name]["shape"]) if name in leaves else "missing"
        here = _kind(wanted[name].dtype, np.shape(wanted[name])) if name in wanted else "missing"
        if there != here:
            raise UserError(
                f"{place}: a checkpoint of another model: {name} is {there} in the checkpoint and {here} in this run."
            )


def _kind(dtype: Any, shape: Any) -> str:
    return f"{dtype}[{', '.join(map(str, shape))}]"
