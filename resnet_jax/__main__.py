"""`python -m resnet_jax` exits with a message that the commands are not in this package."""

import sys

if __name__ == "__main__":
    sys.exit(
        "error: resnet_jax is a library without commands; the commands are in a checkout of the project: run "
        "python -m experiments in its root."
    )
