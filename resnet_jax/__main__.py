"""`python -m resnet_jax` prints where the commands are: in a checkout, not in this package."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    sys.exit(
        "error: resnet_jax is a library without commands; the commands are in a checkout of the project: run "
        "python -m experiments in its root."
    )
