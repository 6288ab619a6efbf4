"""2-D convolution that is fast on CPUs too, with its gradients, also inside loops.

primitives.py has `conv2d` and its two gradients as JAX primitives. On a CPU, cpu.py chooses by shape how to compute
each of the three: by XLA's convolution, by dense.py for tiny images, by packed.py and strided.py for few channels, or
by taps.py for the kernel gradient of large batches. Other backends always use XLA's convolution.
"""

from resnet_jax.models.conv.primitives import conv2d

__all__ = ["conv2d"]
