"""The software and hardware of a run, for its record."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

import resnet_jax
from resnet_jax.record import Environment
from resnet_jax.training.mesh import Devices

LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def describe(devices: Devices) -> Environment:
    """The version of the code, versions of libraries, XLA flags and devices of this process."""
    first = devices.first
    return Environment(
        code=code_version(),
        python=platform.python_version(),
        versions={name: importlib.metadata.version(name) for name in LIBRARIES},
        xla_flags=os.environ.get("XLA_FLAGS", ""),
        platform=first.platform,
        device=processor() if first.platform == "cpu" else first.device_kind,
        devices=devices.count,
        cpu_cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
    )


def code_version() -> str:
    """The package's version. In a git checkout of this project, also the commit, such as "1.0 0123456789ab".

    If files that can change a result have uncommitted changes, "+changes" is added to the commit.
    """
    version = resnet_jax.__version__
    root = Path(resnet_jax.__file__).parent.parent
    commit = _git(root, "rev-parse", "--short=12", "HEAD")
    # Only in a checkout of this project: an installed copy may be inside another repository.
    if not commit or _git(root, "ls-files", "resnet_jax/__init__.py") == "":
        return version
    # Only files that can change a result count, not documents and figures, nor the records of results.
    changed = _git(root, "status", "--porcelain", "--", "resnet_jax", "experiments", ":(exclude)experiments/records")
    return f"{version} {commit}{'+changes' if changed else ''}"


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def processor() -> str:
    """The name of this machine's CPU."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
