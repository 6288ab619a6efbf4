"""`python -m resnet_jax`: says where the commands are, which belong to a checkout and not to this package."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    sys.exit(
        "error: resnet_jax is the library and has no commands; those of the experiments are in a checkout of the "
        "project: run python -m experiments in its root."
    )
