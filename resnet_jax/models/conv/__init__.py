"""2-D convolution whose value and gradients are fast on CPUs too, and in loops.

primitives.py has `conv2d` and its two gradients as primitives of JAX. cpu.py chooses, by shape, how a CPU computes each
of the three: XLA's own convolution, dense.py for tiny images, or taps.py for the kernel gradient of large batches.
Other backends always use XLA's own.
"""

from resnet_jax.models.conv.primitives import conv2d

__all__ = ["conv2d"]
