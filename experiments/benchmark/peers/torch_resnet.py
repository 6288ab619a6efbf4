"""The nets of He et al. 2015 (arXiv 1512.03385) and 2016 (arXiv 1603.05027) in PyTorch.

This is a second, independent implementation: tests/parity compares its results with those of `resnet_jax`, and the
benchmark compares the speed. This module must not import `resnet_jax`. Images are NCHW.
"""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

Shortcut = Literal["none", "A", "B", "C"]
Padding = Literal["end", "both"]

BLOCKS = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3], 101: [3, 4, 23, 3], 152: [3, 8, 36, 3]}


def conv(c_in: int, c_out: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, kernel, stride=stride, padding=kernel // 2, bias=False)


def bn(channels: int) -> nn.BatchNorm2d:
    # PyTorch's momentum is the weight of the new value.
    return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)


class PaddedIdentity(nn.Module):
    """Shortcut of option A (2015, Sec. 4.1): takes every stride-th pixel, and adds channels of zeros."""

    def __init__(self, c_in: int, c_out: int, stride: int, padding: Padding) -> None:
        super().__init__()
        extra = c_out - c_in
        self.before = extra // 2 if padding == "both" else 0
        self.after = extra - self.before
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 1 and self.before == self.after == 0:
            return x
        # Padding keeps the memory layout (channels_last); concatenating with zeros would not.
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.after))


class Unit(nn.Module):
    """Base class of residual units: convolutions, each given as (c_in, c_out, kernel, stride), and a shortcut."""

    def __init__(self, convs: list[tuple[int, int, int, int]], shortcut: Shortcut, padding: Padding) -> None:
        super().__init__()
        c_in, c_out, stride = convs[0][0], convs[-1][1], max(conv[3] for conv in convs)
        self.plain = shortcut == "none"
        self.projects = shortcut == "C" or (shortcut == "B" and (stride != 1 or c_in != c_out))
        if self.projects:
            self.projection: nn.Module = conv(c_in, c_out, 1, stride)
        elif not self.plain:
            self.identity = PaddedIdentity(c_in, c_out, stride, padding)
        self.convs = self.numbered("conv", [conv(*shape) for shape in convs])

    def numbered(self, name: str, modules: list[nn.Module]) -> tuple[nn.Module, ...]:
        """Registers modules as submodules called name1, name2, ...; returns them."""
        for number, module in enumerate(modules, start=1):
            self.add_module(f"{name}{number}", module)
        return tuple(modules)


class OriginalUnit(Unit):
    """Unit of 2015 (Fig. 2 and 5): BN follows every convolution and projection; a ReLU follows the addition."""

    def __init__(self, convs: list[tuple[int, int, int, int]], shortcut: Shortcut, padding: Padding) -> None:
        super().__init__(convs, shortcut, padding)
        if self.projects:
            self.projection_bn = bn(convs[-1][1])
        self.bns = self.numbered("bn", [bn(c_out) for _, c_out, _, _ in convs])

    def forward(self, x: Tensor) -> Tensor:
        y = self.bns[0](self.convs[0](x))
        for conv, bn in zip(self.convs[1:], self.bns[1:], strict=True):
            y = bn(conv(F.relu(y)))
        if self.plain:
            return F.relu(y)
        return F.relu((self.projection_bn(self.projection(x)) if self.projects else self.identity(x)) + y)


class PreactUnit(Unit):
    """Unit of 2016 (Fig. 4e and Appendix): BN and ReLU come before every convolution; nothing follows the addition.

    The argument `first` describes the unit's place in the net:
      "own": first unit of a CIFAR net. Its first BN and ReLU come before both paths ("right after conv1 and before
        splitting into two paths", Appendix).
      "done": first unit of an ImageNet net. The stem already has BN and ReLU, so the unit has no first BN.
      None: any other unit. An identity shortcut takes the unit's input; a projection takes the input after BN and ReLU,
        as in the authors' code.
    """

    def __init__(
        self,
        convs: list[tuple[int, int, int, int]],
        shortcut: Shortcut,
        padding: Padding,
        first: Literal["own", "done"] | None,
    ) -> None:
        super().__init__(convs, shortcut, padding)
        self.first = first
        bns = [bn(c_in) for c_in, _, _, _ in convs]
        self.bns = self.numbered("bn", bns)
        if first == "done":
            del self.bn1  # the stem already has it

    def forward(self, x: Tensor) -> Tensor:
        activated = x if self.first == "done" else F.relu(self.bns[0](x))
        y = self.convs[0](activated)
        for conv, bn in zip(self.convs[1:], self.bns[1:], strict=True):
            y = conv(F.relu(bn(y)))
        if self.plain:
            return y
        if self.projects:
            return self.projection(activated) + y
        return self.identity(x if self.first is None else activated) + y


def unit_convs(c_in: int, width: int, stride: int, bottleneck: bool, v1_5: bool) -> list[tuple[int, int, int, int]]:
    """The convolutions of a unit as (c_in, c_out, kernel, stride) (2015, Fig. 5).

    The first convolution has the stride (Table 1, caption). With `v1_5`, the second convolution of a bottleneck has it.
    """
    if not bottleneck:
        return [(c_in, width, 3, stride), (width, width, 3, 1)]
    s1, s2 = (1, stride) if v1_5 else (stride, 1)
    return [(c_in, width, 1, s1), (width, width, 3, s2), (width, 4 * width, 1, 1)]


class TorchResNet(nn.Module):
    """CIFAR net (2015, Sec. 4.2) or ImageNet net (2015, Table 1): images [N, C, H, W] -> logits [N, classes]."""

    def __init__(
        self,
        *,
        imagenet: bool,
        depth: int,
        bottleneck: bool,
        shortcut: Shortcut,
        classes: int,
        channels: int = 3,
        padding: Padding = "end",
        preactivation: bool = False,
        v1_5: bool = False,
        width: int | None = None,
    ) -> None:
        super().__init__()
        self.imagenet, self.preactivation = imagenet, preactivation
        if imagenet:
            width, blocks = width or 64, BLOCKS[depth]
            self.stem_conv = conv(channels, width, 7, stride=2)
            self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        else:
            width, blocks = width or 16, [(depth - 2) // (9 if bottleneck else 6)] * 3
            self.stem_conv = conv(channels, width, 3)
        if imagenet or not preactivation:
            self.stem_bn = bn(width)

        c_in, stages = width, []
        for i, count in enumerate(blocks):
            stage = []
            for j in range(count):
                stride = 2 if i > 0 and j == 0 else 1
                convs = unit_convs(c_in, width * 2**i, stride, bottleneck, v1_5)
                if preactivation:
                    start: Literal["own", "done"] = "done" if imagenet else "own"
                    unit: Unit = PreactUnit(convs, shortcut, padding, start if i == j == 0 else None)
                else:
                    unit = OriginalUnit(convs, shortcut, padding)
                stage.append(unit)
                c_in = convs[-1][1]
            stages.append(nn.Sequential(*stage))
        self.stages = nn.Sequential(*stages)
        if preactivation:
            self.final_bn = bn(c_in)
        self.fc = nn.Linear(c_in, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem_conv(x)
        if self.imagenet or not self.preactivation:
            x = F.relu(self.stem_bn(x))
        if self.imagenet:
            x = self.pool(x)
        x = self.stages(x)
        if self.preactivation:
            x = F.relu(self.final_bn(x))
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return self.fc(x)
