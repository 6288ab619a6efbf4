"""Where an interrupted run goes on from: the state, and what the current epoch has summed so far."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from resnet_jax.errors import UserError
from resnet_jax.training.metrics import Totals

Tree = Any


class Checkpoints:
    """The checkpoints of one run, by step. They hold plain arrays: any mode on any devices can go on from them."""

    def __init__(self, directory: Path, keep: int) -> None:
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=False)
        self._manager = ocp.CheckpointManager(directory.absolute(), options=options)

    def save(self, state: Tree, totals: Totals, data: str) -> None:
        """Keeps a state on the disk; returns when it is there.

        Args:
          state: on the host.
          totals: the sums so far of the epoch it stands in.
          data: fingerprint of the data it was trained on.
        """
        # Orbax takes arrays, not NumPy's scalars.
        arrays = jax.tree.map(np.asarray, state)
        self._manager.save(
            int(state.step),
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(arrays),
                totals=ocp.args.JsonSave({"data": data, **dataclasses.asdict(totals)}),
            ),
        )
        self._manager.wait_until_finished()

    def restore(self, like: Tree, data: str) -> tuple[Tree, Totals] | None:
        """The newest checkpoint, or None where there is none.

        Args:
          like: a state of the same structure, shapes and dtypes.
          data: fingerprint of the data that training goes on with.

        Raises:
          UserError: it cannot be read, or is of another model or of other data.
        """
        step = self._manager.latest_step()
        if step is None:
            return None
        try:
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(jax.tree.map(np.asarray, like)), totals=ocp.args.JsonRestore()
                ),
            )
        except (ValueError, KeyError, OSError) as error:
            raise UserError(
                f"{self._manager.directory}/{step}: this checkpoint cannot be read ({_first_line(error)}); "
                f"delete that folder to go on from the one before it."
            ) from error
        state = restored["state"]
        _check_alike(state, like, f"{self._manager.directory}/{step}")
        totals = dict(restored["totals"])
        trained_on = totals.pop("data")
        if trained_on != data:
            raise UserError(
                f"{self._manager.directory}/{step}: trained on data of fingerprint {trained_on}, and the data are now "
                f"{data}; bring those back, or choose another directory."
            )
        return state, Totals(**totals)

    def close(self) -> None:
        """Releases the manager's threads."""
        self._manager.close()


def _check_alike(state: Tree, like: Tree, where: str) -> None:
    # Orbax restores an array of another shape without a word.
    for (path, got), wanted in zip(jax.tree_util.tree_leaves_with_path(state), jax.tree.leaves(like), strict=True):
        if np.shape(got) != np.shape(wanted) or got.dtype != wanted.dtype:
            raise UserError(
                f"{where}: a checkpoint of another model: {jax.tree_util.keystr(path)} is {got.dtype}{np.shape(got)} "
                f"there and {wanted.dtype}{np.shape(wanted)} in this run."
            )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]
