"""The parts of a check, in order of importance: `FULL` for a GPU, `SMALL` for a CPU."""

from experiments.benchmark.spec import FLAX, OURS, Dtype, NetName
from experiments.gpu_check.parts import COMPILED, EAGER, Breakdown, Device, DeviceTests, Limits, Part, Race

ALL = (OURS, COMPILED, FLAX, EAGER)
SINGLE = f"{OURS}:train.steps_per_dispatch=1"
"""Contestant for nets with long steps: one step in each dispatch, which halves the time of compilation."""
RESUME = "resume"
"""Part of the names of all tests that start whole runs."""


def _cifar(net: NetName, dtype: Dtype) -> Race:
    return Race(f"{net}-{dtype}", 40.0, net, 128, dtype, ALL, steps=60, repeats=10)


def _dispatches(least: float, net: NetName, batch_size: int, sizes: tuple[int, ...], repeats: int) -> Race:
    """Part that times train steps in dispatches of different sizes.

    A dispatch is one call of a compiled function. `sizes` are the numbers of train steps in a dispatch. The part
    starts only if `least` seconds are left.
    """
    names = tuple(f"{OURS}:train.steps_per_dispatch={size}" for size in sizes)
    return Race(
        "dispatch", least, net, batch_size, "float32", names, steps=max(sizes), repeats=repeats, peers=names[:1]
    )


FULL: tuple[Part, ...] = (
    Device("device", 0.0),
    DeviceTests("tests", 20.0, f"not {RESUME}", processes=8),
    Breakdown("breakdown", 20.0, "resnet-20", 128, "float32", steps=60),
    _dispatches(30.0, "resnet-20", 128, (1, 5, 20, 100), repeats=10),
    Limits("limits", 15.0, ("float32", "bfloat16"), steps=20, repeats=5),
    # Two contestants at the same time, because four nets of this size do not fit into 80 GB.
    Race("resnet-50-bfloat16", 60.0, "resnet-50", 256, "bfloat16", (SINGLE, *ALL[1:]), steps=5, repeats=5, alive=2),
    DeviceTests("resume", 40.0, RESUME, processes=8),
    _cifar("resnet-20", "float32"),
    _cifar("resnet-20", "bfloat16"),
    Race("resnet-50-float32", 60.0, "resnet-50", 256, "float32", (SINGLE, *ALL[1:]), steps=5, repeats=5, alive=2),
    _cifar("resnet-56", "float32"),
    _cifar("resnet-56", "bfloat16"),
    _cifar("resnet-110", "float32"),
    _cifar("resnet-110", "bfloat16"),
    Race("resnet-1202-float32", 60.0, "resnet-1202", 128, "float32", (SINGLE,), steps=5, repeats=5),
)
"""The plan for a GPU or another accelerator: the papers' nets at the papers' batch sizes."""

SMALL: tuple[Part, ...] = (
    Device("device", 0.0),
    DeviceTests("tests", 15.0, f"not {RESUME} and not (bfloat16 and (shard_map or pmap))", processes=1),
    Breakdown("breakdown", 5.0, "resnet-8", 4, "float32", steps=2, steps_per_dispatch=2),
    _dispatches(5.0, "resnet-8", 4, (1, 2), repeats=1),
    Limits("limits", 5.0, ("float32",), steps=1, repeats=1),
    Race("resnet-50-bfloat16", 10.0, "resnet-50", 1, "bfloat16", (EAGER,), steps=1, repeats=1, alive=1),
    DeviceTests("resume", 15.0, RESUME, processes=1),
    Race("resnet-8-float32", 10.0, "resnet-8", 4, "float32", (OURS, FLAX, EAGER), steps=1, repeats=2),
    Race("resnet-1202-float32", 5.0, "resnet-8", 4, "float32", (f"{OURS}:model.stages=scanned",), steps=1, repeats=1),
)
"""The plan for a CPU: the same code with tiny nets, in a minute or two on one core. The times mean nothing.

To save the time of compilation, only eager PyTorch runs ResNet-50.
"""
