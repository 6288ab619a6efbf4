"""The published nets once more, in PyTorch, with the names that their projects give to every part.

Written from the papers and the names in the published files, with PyTorch's own layers. `load_state_dict(strict=True)`
then shows that a file's names are these, and the forward pass what they mean.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class _Block(nn.Module):
    """Convolutions with batch norms, and a shortcut: a projection under the project's name, or zero channels."""

    def __init__(self, c_in: int, convs: list[tuple[int, int, int]], projection: str | None) -> None:
        super().__init__()
        c, stride = c_in, 1
        for i, (c_out, kernel, s) in enumerate(convs, start=1):
            setattr(self, f"conv{i}", nn.Conv2d(c, c_out, kernel, s, kernel // 2, bias=False))
            setattr(self, f"bn{i}", nn.BatchNorm2d(c_out))
            c, stride = c_out, stride * s
        self.count, self.stride, self.new = len(convs), stride, c - c_in
        self.projection = projection if stride > 1 or self.new else None
        if self.projection:
            conv = nn.Conv2d(c_in, c, 1, stride, bias=False)
            setattr(self, self.projection, nn.Sequential(conv, nn.BatchNorm2d(c)))

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = F.relu(y) if i < self.count else y
        if self.projection:
            return F.relu(y + getattr(self, self.projection)(x))
        x = x[:, :, :: self.stride, :: self.stride]
        return F.relu(y + F.pad(x, (0, 0, 0, 0, self.new // 2, self.new - self.new // 2)))


class CifarNet(nn.Module):
    """akamaster/pytorch_resnet_cifar10: option A, its zero channels on both sides."""

    def __init__(self, depth: int, classes: int = 10) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        c = 16
        for i, width in enumerate((16, 32, 64), start=1):
            blocks = []
            for j in range((depth - 2) // 6):
                blocks.append(_Block(c, [(width, 3, 2 if i > 1 and j == 0 else 1), (width, 3, 1)], None))
                c = width
            setattr(self, f"layer{i}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        return self.linear(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


class ImageNetNet(nn.Module):
    """torchvision's resnet18 to resnet152: projections where the shape changes, a bottleneck's stride on its 3x3."""

    def __init__(self, depth: int, classes: int = 1000, *, v1_5: bool = True) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        c = 64
        for i, count in enumerate(BLOCKS[depth], start=1):
            w, blocks = 32 * 2**i, []
            for j in range(count):
                s = 2 if i > 1 and j == 0 else 1
                if depth < 50:
                    convs = [(w, 3, s), (w, 3, 1)]
                else:
                    convs = [(w, 1, 1 if v1_5 else s), (w, 3, s if v1_5 else 1), (4 * w, 1, 1)]
                blocks.append(_Block(c, convs, "downsample"))
                c = convs[-1][0]
            setattr(self, f"layer{i}", nn.Sequential(*blocks))
        self.fc = nn.Linear(c, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for i in (1, 2, 3, 4):
            x = getattr(self, f"layer{i}")(x)
        return self.fc(x.mean((2, 3)))


def shake(net: nn.Module, seed: int = 0) -> nn.Module:
    """The net with random values in all its batch norms, counts included: initial ones would hide what is confused."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor, low, high in (
                    (module.weight, 0.5, 1.5),
                    (module.bias, -0.5, 0.5),
                    (module.running_mean, -0.5, 0.5),
                    (module.running_var, 0.5, 1.5),
                ):
                    tensor.uniform_(low, high, generator=generator)
                module.num_batches_tracked.fill_(7)
    return net.eval()
