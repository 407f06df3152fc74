"""TF-slim's residual networks in PyTorch.

Modules are called what slim calls its scopes, so that tf_names() can tell each parameter's name in
a TensorFlow checkpoint. Two places differ from torchvision's networks: stride 2 sits in the last
unit of a block, and pooling pads as TensorFlow's SAME does.
"""

import re
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn

EPSILON = 1e-5
MOMENTUM = 1 - 0.997  # of a new value, where slim's decay is of the old one

UNITS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 200: (3, 24, 36, 3)}


def batch_norm(channels):
    return nn.BatchNorm2d(channels, eps=EPSILON, momentum=MOMENTUM)


class Conv(nn.Conv2d):
    """slim's conv2d, or conv2d_same with a stride: for odd kernels both pad evenly."""

    def __init__(self, inputs, outputs, kernel, stride=1, rate=1, norm=True, relu=True):
        padding = rate * (kernel - 1) // 2
        super().__init__(inputs, outputs, kernel, stride, padding, rate, bias=not norm)
        self.BatchNorm = batch_norm(outputs) if norm else None
        self.relu = relu

    def forward(self, x):
        x = super().forward(x)
        if self.BatchNorm is not None:
            x = self.BatchNorm(x)
        return F.relu_(x) if self.relu else x


class Bottleneck(nn.Module):
    """A unit of either version; `plain` is a convolution with nothing but biases."""

    def __init__(self, version, inputs, base, stride, rate):
        super().__init__()
        plain = version == 2
        self.version, self.stride = version, stride
        self.preact = batch_norm(inputs) if version == 2 else None
        self.shortcut = None
        if inputs != 4 * base:
            self.shortcut = Conv(inputs, 4 * base, 1, stride, norm=not plain, relu=False)
        self.conv1 = Conv(inputs, base, 1)
        self.conv2 = Conv(base, base, 3, stride, rate)
        self.conv3 = Conv(base, 4 * base, 1, norm=not plain, relu=False)

    def forward(self, x):
        preact = x if self.version == 1 else F.relu_(self.preact(x))
        if self.shortcut is not None:
            shortcut = self.shortcut(preact)
        else:
            shortcut = subsample(x, self.stride)
        x = self.conv3(self.conv2(self.conv1(preact))).add_(shortcut)
        return F.relu_(x) if self.version == 1 else x


def subsample(x, stride):
    """slim's 1x1 max-pool. A slice is faster in PyTorch, a pool in what reads its ONNX."""
    if stride == 1:
        return x
    if torch.onnx.is_in_onnx_export():
        return F.max_pool2d(x, 1, stride)
    return x[..., ::stride, ::stride]


def max_pool_same(x):
    """3x3/2 SAME: an even image has its padding at the bottom and right alone."""
    return F.max_pool2d(x, 3, 2, padding=x.shape[2] % 2, ceil_mode=True)


class ResNet(nn.Module):
    """blocks: (base depth, units, stride) each. small: a 3x3 root without a pool."""

    def __init__(self, version, blocks, classes, output_stride=0, small=False):
        super().__init__()
        self.small = small
        if small:
            depth = 16
            self.conv1 = Conv(3, depth, 3, norm=False, relu=False)
        else:
            depth = 64
            self.conv1 = Conv(3, depth, 7, 2, norm=version == 1, relu=version == 1)
        target = output_stride // (1 if small else 4)
        current = rate = 1
        for number, (base, units, block_stride) in enumerate(blocks, 1):
            block = OrderedDict()
            for unit in range(1, units + 1):
                stride = block_stride if unit == units else 1
                reached = target and current == target
                bottleneck = Bottleneck(
                    version, depth, base, 1 if reached else stride, rate if reached else 1
                )
                scope = OrderedDict({f"bottleneck_v{version}": bottleneck})
                block[f"unit_{unit}"] = nn.Sequential(scope)
                depth = 4 * base
                if reached:
                    rate *= stride
                else:
                    current *= stride
            self.add_module(f"block{number}", nn.Sequential(block))
        self.postnorm = batch_norm(depth) if version == 2 else None
        self.logits = Conv(depth, classes, 1, norm=False, relu=False)

    def forward(self, x):
        x = self.conv1(x)
        if not self.small:
            x = max_pool_same(x)
        for name, block in self.named_children():
            if name.startswith("block"):
                x = block(x)
        if self.postnorm is not None:
            x = F.relu_(self.postnorm(x))
        return self.logits(F.adaptive_avg_pool2d(x, 1)).flatten(1)


def create(model, classes, output_stride=0):
    """A network by slim's name, or clarinet's resnet_v2_20."""
    version, depth = map(int, re.fullmatch(r"resnet_v([12])_(\d+)", model).groups())
    if depth == 20:
        blocks = (16, 2, 2), (32, 2, 2), (64, 2, 1)
    else:
        blocks = tuple(zip((64, 128, 256, 512), UNITS[depth], (2, 2, 2, 1)))
    return ResNet(version, blocks, classes, output_stride, small=depth == 20)


def tf_names(model, network):
    """{TensorFlow's name: tensor} of everything that a checkpoint holds."""
    conv = {"weight": "weights", "bias": "biases"}
    norm = {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    }
    named = {}
    for path, module in network.named_modules():
        kinds = {nn.BatchNorm2d: norm, Conv: conv}.get(type(module), {})
        for name, tf_name in kinds.items():
            tensor = getattr(module, name)
            if tensor is not None:
                named["/".join([model, *path.split("."), tf_name])] = tensor
    return named


def load(model, network, values):
    """Fills a network from {TensorFlow's name: array}; convolution weights come as HWIO."""
    named = tf_names(model, network)
    if named.keys() != values.keys():
        raise SystemExit(f"{model}: other variables than the weights file has")
    with torch.no_grad():
        for name, tensor in named.items():
            value = torch.from_numpy(values[name])
            tensor.copy_(value.permute(3, 2, 0, 1) if tensor.dim() == 4 else value)
