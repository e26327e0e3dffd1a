"""The article's two networks and its training loop in PyTorch, to compare their speed with ours.

Layers, widths, initial distributions, batch norm and Adam are those of `catdcgan.model`; so is the number of
parameters, which `train_step.py` checks. With a stride of 2, TensorFlow's SAME pads unevenly and PyTorch
evenly: the work is the same, on pixels shifted by one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional

ALPHA = 0.2  # slope of the leaky ReLU below zero


def generator(width: int, size: int, z_dim: int = 100) -> nn.Sequential:
    """`catdcgan.generator` with 3 channels: latents (n, z_dim) -> images (n, 3, size, size) in [-1, 1]."""
    side = size // 16
    layers: list[nn.Module] = [
        nn.Linear(z_dim, side * side * width * 16),
        nn.Unflatten(1, (width * 16, side, side)),
        nn.LeakyReLU(ALPHA, inplace=True),
    ]
    for filters in (width * 8, width * 4, width * 2, width):
        layers += [
            nn.ConvTranspose2d(filters * 2, filters, 5, 2, padding=2, output_padding=1),
            nn.BatchNorm2d(filters, momentum=0.01),
            nn.LeakyReLU(ALPHA, inplace=True),
        ]
    return initialized(nn.Sequential(*layers, nn.ConvTranspose2d(width, 3, 5, padding=2), nn.Tanh()))


def discriminator(width: int, size: int) -> nn.Sequential:
    """`catdcgan.discriminator` with 3 channels: images (n, 3, size, size) -> logits (n, 1)."""
    layers: list[nn.Module] = []
    channels = 3
    for filters, stride in ((width, 2), (width * 2, 2), (width * 4, 2), (width * 8, 1), (width * 16, 2)):
        layers += [
            nn.Conv2d(channels, filters, 5, stride, padding=2),
            nn.BatchNorm2d(filters, momentum=0.01),
            nn.LeakyReLU(ALPHA, inplace=True),
        ]
        channels = filters
    return initialized(nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * (size // 16) ** 2, 1)))


def initialized(network: nn.Sequential) -> nn.Sequential:
    """Give a network the initial values of ours: truncated normal for convolutions, Glorot for dense."""
    for module in network:
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.trunc_normal_(module.weight, std=0.02, a=-0.04, b=0.04)
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    return network


def training_step(
    batches: list[tuple[np.ndarray, np.ndarray]],
    width: int,
    layout: torch.memory_format,
    tuned: bool,
    compiled: bool = False,
    bfloat16: bool = False,
) -> tuple[Callable[[], object], int]:
    """Make the step of PyTorch's own DCGAN example: fakes generated once, detached for the discriminator.

    Args:
        batches: real images (n, s, s, 3) and latents (n, z_dim), float32, that the steps cycle through.
        width: of both networks.
        layout: `torch.contiguous_format` or `torch.channels_last`.
        tuned: also follow PyTorch's tuning guide: compute no gradients of the discriminator's weights in the
            generator's step, and use one fused kernel for Adam.
        compiled: pass both networks through `torch.compile`.
        bfloat16: run both networks under autocast in bfloat16.

    Returns:
        A function that trains one step and returns its losses, and the number of parameters.
    """
    (real, z), *_ = batches
    device = "cuda" if torch.cuda.is_available() else "cpu"
    G = generator(width, real.shape[1], z.shape[1]).to(device, memory_format=layout)
    D = discriminator(width, real.shape[1]).to(device, memory_format=layout)
    adam = {"lr": 2e-4, "betas": (0.5, 0.999), "eps": 1e-8, "fused": tuned}
    d_adam, g_adam = torch.optim.Adam(D.parameters(), **adam), torch.optim.Adam(G.parameters(), **adam)
    inputs = [
        (torch.from_numpy(real).permute(0, 3, 1, 2).contiguous(memory_format=layout), torch.from_numpy(z))
        for real, z in batches
    ]
    generate, judge = (torch.compile(G), torch.compile(D)) if compiled else (G, D)

    def cross_entropy(logits: torch.Tensor, label: float) -> torch.Tensor:
        return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))

    def autocast() -> torch.autocast:
        return torch.autocast(device, torch.bfloat16, enabled=bfloat16)

    def step() -> tuple[float, float]:
        real, z = (batch.to(device) for batch in inputs[0])
        inputs.append(inputs.pop(0))
        d_adam.zero_grad()
        with autocast():  # as PyTorch advises: forward passes and losses inside, backward passes outside
            fake = generate(z)
            d_loss = cross_entropy(judge(real), 0.9) + cross_entropy(judge(fake.detach()), 0)
        d_loss.backward()
        d_adam.step()
        g_adam.zero_grad()
        if tuned:
            D.requires_grad_(False)
        with autocast():
            g_loss = cross_entropy(judge(fake), 1)
        g_loss.backward()
        g_adam.step()
        if tuned:
            D.requires_grad_(True)
        return d_loss.item(), g_loss.item()

    return step, sum(weights.numel() for network in (D, G) for weights in network.parameters())
