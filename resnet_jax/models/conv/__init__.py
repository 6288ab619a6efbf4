"""2-D convolution and its gradients. They are fast on CPUs too, even inside a compiled loop (jax.lax.scan).

primitives.py has `conv2d` and its two gradients as JAX primitives. On a CPU, cpu.py selects an algorithm for each of
these functions by the shapes of the arrays: XLA's convolution, dense.py for tiny images, packed.py and strided.py for
few channels, and taps.py for the kernel gradient of large batches. Other backends always use XLA's convolution.
"""

from resnet_jax.models.conv.primitives import conv2d

__all__ = ["conv2d"]
