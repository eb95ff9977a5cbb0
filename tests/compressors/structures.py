"""Small networks with the structures that pruning must get right, each with the shape of its input."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from compressors import architectures


class Residual(nn.Module):
    """A plain shortcut and a projected one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 12, 3, 1, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU())
        self.inner = nn.Sequential(
            nn.Conv2d(12, 10, 3, 1, 1), nn.BatchNorm2d(10), nn.ReLU(), nn.Conv2d(10, 12, 3, 1, 1), nn.BatchNorm2d(12)
        )
        self.down = nn.Sequential(nn.Conv2d(12, 16, 3, 2, 1), nn.BatchNorm2d(16))
        self.short = nn.Sequential(nn.Conv2d(12, 16, 1, 2), nn.BatchNorm2d(16))
        self.fc = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.relu(x + self.inner(x))
        x = torch.relu(self.down(x) + self.short(x))
        out: Tensor = self.fc(x.mean((2, 3)))
        return out


class Depthwise(nn.Module):
    """Inverted residual with a depthwise convolution and squeeze-and-excitation, PReLU behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.expand = nn.Sequential(nn.Conv2d(8, 24, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU6())
        self.depthwise = nn.Sequential(nn.Conv2d(24, 24, 3, 1, 1, groups=24), nn.BatchNorm2d(24), nn.PReLU(24))
        self.squeeze = nn.Conv2d(24, 6, 1)
        self.excite = nn.Conv2d(6, 24, 1)
        self.project = nn.Sequential(nn.Conv2d(24, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        inside = self.depthwise(self.expand(x))
        scale = torch.sigmoid(self.excite(torch.relu(self.squeeze(inside.mean((2, 3), keepdim=True)))))
        out: Tensor = self.fc((x + self.project(inside * scale)).mean((2, 3)))
        return out


class Concat(nn.Module):
    """Two branches joined along the channels, one of them read twice."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Sequential(nn.Conv2d(3, 6, 3, 1, 1), nn.BatchNorm2d(6), nn.ReLU())
        self.right = nn.Sequential(nn.Conv2d(3, 10, 1), nn.ReLU())
        self.joined = nn.Conv2d(16, 9, 3, 1, 1)
        self.after = nn.Conv2d(9 + 10, 7, 1)
        self.fc = nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.left(x), self.right(x)
        joined = torch.relu(self.joined(torch.cat([left, right], 1)))
        out: Tensor = self.fc(torch.relu(self.after(torch.cat([right, joined], 1))).mean((2, 3)))
        return out


class Grouped(nn.Module):
    """A ResNeXt block: a convolution in four groups."""

    def __init__(self) -> None:
        super().__init__()
        self.reduce = nn.Sequential(nn.Conv2d(3, 16, 1), nn.BatchNorm2d(16), nn.ReLU())
        self.grouped = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1, groups=4), nn.BatchNorm2d(16), nn.ReLU())
        self.expand = nn.Conv2d(16, 12, 1)
        self.fc = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(torch.relu(self.expand(self.grouped(self.reduce(x)))).mean((2, 3)))
        return out


class Flattened(nn.Module):
    """A feature map that becomes a vector: each channel is nine of its elements."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 6, 3, 2, 1), nn.ReLU())
        self.fc1, self.fc2 = nn.Linear(6 * 9, 20), nn.Linear(20, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        out: Tensor = self.fc2(torch.relu(self.fc1(x.view(x.shape[0], -1))))
        return out


class Detector(nn.Module):
    """A backbone, a pyramid that is upsampled and joined, and heads at three scales."""

    def __init__(self) -> None:
        super().__init__()

        def stage(inputs: int, outputs: int) -> nn.Module:
            return nn.Sequential(
                nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.1)
            )

        self.backbone = nn.ModuleList([stage(3, 8), stage(8, 12), stage(12, 16)])
        self.blocks = nn.ModuleList([nn.Conv2d(16, 10, 1), nn.Conv2d(12 + 10, 10, 1), nn.Conv2d(8 + 10, 10, 1)])
        self.transitions = nn.ModuleList([nn.Conv2d(10, 14, 3, 1, 1) for _ in range(3)])
        self.heads = nn.ModuleList([nn.Conv2d(14, 3 * (5 + 4), 1) for _ in range(3)])
        self.up = nn.Upsample(scale_factor=2, mode="nearest")

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        for stage in self.backbone:
            x = stage(x)
            features.append(x)
        found: list[Tensor] = []
        route: Tensor | None = None
        for level, feature in enumerate(reversed(features)):
            taken = feature if route is None else torch.cat([self.up(route), feature], 1)
            route = torch.relu(self.blocks[level](taken))
            found.append(self.heads[level](torch.relu(self.transitions[level](route))))
        return found


class Transposed(nn.Module):
    """A decoder: a transposed convolution, with an output the size of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.up = nn.ConvTranspose2d(8, 6, 2, 2)
        self.out = nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(torch.relu(self.up(self.down(x))))
        return out


class Shuffled(nn.Module):
    """Channels change their places: torch-pruning believes each stays where it is."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 12, 3, 1, 1), nn.Conv2d(12, 8, 1)
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        out: Tensor = self.fc(torch.relu(self.second(x)).mean((2, 3)))
        return out


class Twice(nn.Module):
    """A layer that is used twice, and a classifier: nothing to prune."""

    def __init__(self) -> None:
        super().__init__()
        self.again = nn.Conv2d(3, 3, 3, 1, 1)
        self.fc = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(self.again(torch.relu(self.again(x))).mean((2, 3)))
        return out


class Detached(nn.Module):
    """Its first layer is behind detach(): no gradient leads there."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.second(self.first(x).detach()).mean((2, 3))
        return out


class Fails(nn.Module):
    """Its second layer does not fit the first."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(5, 4, 1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return out


class Grey(nn.Module):
    """For 28x28 grey images: a stem, a depthwise-separable layer, a residual block; learns Fashion-MNIST in seconds."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.depthwise = nn.Sequential(nn.Conv2d(16, 16, 3, 2, 1, groups=16, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.pointwise = nn.Sequential(nn.Conv2d(16, 32, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.inner = nn.Sequential(
            nn.Conv2d(32, 24, 3, 1, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU(),
            nn.Conv2d(24, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32),
        )  # fmt: skip
        self.fc = nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pointwise(self.depthwise(self.stem(x)))
        x = torch.relu(x + self.inner(x))
        out: Tensor = self.fc(nn.functional.adaptive_avg_pool2d(x, (1, 1)).flatten(1))
        return out


def grey(classes: int = 10) -> nn.Module:
    return Grey(classes)


def spread(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights, scales and statistics, so that no two channels are alike; in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            drawn = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(0.3 * drawn if parameter.ndim > 1 else 0.5 + 0.2 * drawn.abs())
            del name
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.running_mean.copy_(0.1 * torch.randn(module.num_features, generator=generator))  # type: ignore[union-attr]
                module.running_var.copy_(0.5 + torch.rand(module.num_features, generator=generator))  # type: ignore[union-attr]
    return model.eval()


NETWORKS: dict[str, tuple[type[nn.Module], tuple[int, ...]]] = {
    "residual": (Residual, (1, 3, 8, 8)),
    "depthwise": (Depthwise, (1, 3, 8, 8)),
    "concat": (Concat, (1, 3, 8, 8)),
    "grouped": (Grouped, (1, 3, 8, 8)),
    "flattened": (Flattened, (1, 1, 12, 12)),
    "detector": (Detector, (1, 3, 32, 32)),
    "transposed": (Transposed, (1, 3, 8, 8)),
}


def made(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """A network of :data:`NETWORKS` with random weights, and its input's shape."""
    kind, shape = NETWORKS[name]
    return spread(kind()), shape


def resnet20(shortcut: str = "B", width: int = 8) -> nn.Module:
    return spread(architectures.build("resnet20-cifar", shortcut=shortcut, width=width))
