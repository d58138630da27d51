"""Small networks and small data for the torch side's tests."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """A residual block as timm spells it; the addition is functional."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.act2 = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            conv = nn.Conv2d(inputs, outputs, 1, bias=False)
            pool: nn.Module = nn.Identity()
            if stride != 1:
                pool = nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False)
            self.downsample = nn.Sequential(pool, conv, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.act1(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        x += shortcut
        return self.act2(x)


class SmallNet(nn.Module):
    """Every operator of the ResNet set once: 14 quantizers, about 13,000 parameters."""

    def __init__(self, classes: int = 10, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 12, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(12)
        self.act1 = nn.ReLU6()
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = Block(12, 12)
        self.layer2 = Block(12, 24, 2)
        self.drop = nn.Dropout(dropout)
        self.fc = nn.Linear(24, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.act1(self.bn1(self.conv1(x))))
        x = self.layer2(self.layer1(x))
        return self.fc(self.drop(x.mean((2, 3))))


class TinyNet(nn.Module):
    """One convolution, BatchNorm, ReLU, average, linear: few roundings between input and logits."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 2, 1)
        self.bn1 = nn.BatchNorm2d(8)
        self.act1 = nn.ReLU()
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act1(self.bn1(self.conv1(x))))


def lively(model: nn.Module, size: tuple[int, int], seed: int = 0) -> nn.Module:
    """*model* with seeded weights, and BatchNorms as training leaves them: negative and zero gammas,
    real statistics."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            with torch.no_grad():
                module.weight.normal_(0, module.weight[0].numel() ** -0.5, generator=generator)
                if module.bias is not None:
                    module.bias.uniform_(-0.2, 0.2, generator=generator)
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                module.weight.uniform_(-0.5, 1.5, generator=generator)
                module.bias.uniform_(-0.5, 0.5, generator=generator)
                module.weight[0] = 0.0
                module.weight[1] = -abs(module.weight[1])
    model.train()
    with torch.no_grad():
        for _ in range(20):
            model(pictures(8, size, seed))
    return model.eval()


def pictures(count: int, size: tuple[int, int], seed: int = 0) -> Tensor:
    """Random pictures [N, 3, H, W] in [0, 1] on the 8-bit grid."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, *size), generator=generator).float() / 255


def digits(size: int = 16) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """scikit-learn's handwritten digits, tinted and noisy: train and test pictures with labels."""
    from sklearn.datasets import load_digits

    bundle = load_digits()
    generator = torch.Generator().manual_seed(0)
    gray = torch.as_tensor(bundle.images / 16, dtype=torch.float32)[:, None]
    labels = torch.as_tensor(bundle.target)
    drawn = functional.interpolate(gray, size=(size, size), mode="bilinear")
    tint = torch.rand(len(drawn), 3, 1, 1, generator=generator) * 0.7 + 0.3
    noise = torch.rand(len(drawn), 3, size, size, generator=generator) * 0.15
    order = torch.randperm(len(drawn), generator=generator)
    drawn, labels = (drawn * tint + noise).clamp(0, 1)[order], labels[order]
    return drawn[:1200], labels[:1200], drawn[1200:], labels[1200:]


def fit(
    model: nn.Module, data: tuple[Tensor, Tensor], *, epochs: int, rate: float, seed: int = 1
) -> None:
    """Plain training with AdamW and one cycle."""
    drawn, labels = data
    steps = len(drawn) // 64 * epochs
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        model.train()
        order = torch.randperm(len(drawn), generator=generator)
        for start in range(0, len(drawn) - 63, 64):
            chosen = order[start : start + 64]
            loss = functional.cross_entropy(model(drawn[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()
