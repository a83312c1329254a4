"""A flow of images, by convolutions at several scales."""

import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pixel_shuffle, pixel_unshuffle

from pyro_vae.errors import InputError, at_least_1, sizes
from pyro_vae.flows.flow import Bijection, Flow
from pyro_vae.networks import Shape


class Glow(Flow):
    """Map noise to images by a multi-scale flow; each scale squeezes, takes steps and splits off half.

    A squeeze turns 2x2 pixels into four channels. A step scales and shifts each channel, mixes channels by
    an invertible 1x1 convolution, and moves half of them by a convolutional network of the other half. Each
    direction takes one pass. There is no context.

    Args:
        dim: D = channels * height * width.
        context_dim: must be 0.
        image_shape: (channels, height, width).
        num_scales: number of squeezes.
        num_steps: number of steps at each scale.
        channels: width of the couplings' networks.

    Raises:
        InputError: the shapes do not fit, or a side cannot be halved ``num_scales`` times.

    Source: D. P. Kingma, P. Dhariwal, "Glow: generative flow with invertible 1x1 convolutions", 2018,
    https://arxiv.org/abs/1807.03039; scales: L. Dinh, J. Sohl-Dickstein, S. Bengio, "Density estimation
    using Real NVP", 2016, https://arxiv.org/abs/1605.08803.

    >>> noise, bijection = torch.randn(5, 64), Glow(64, image_shape=(1, 8, 8))()
    >>> torch.allclose(bijection.inv(bijection(noise)), noise, atol=1e-4)
    True
    """

    def __init__(
        self,
        dim: int,
        context_dim: int = 0,
        *,
        image_shape: Shape,
        num_scales: int = 2,
        num_steps: int = 4,
        channels: int = 64,
    ) -> None:
        nn.Module.__init__(self)
        at_least_1("channels", channels)
        is_image = len(sizes("image_shape", image_shape)) == 3
        if not is_image or math.prod(image_shape) != dim or context_dim:
            raise InputError(
                f"Glow got dim {dim}, context_dim {context_dim} and image_shape {tuple(image_shape)}",
                subject="image_shape",
                expected="(channels, height, width) with a product of dim, and no context",
            )
        depth, height, width = image_shape
        if min(num_scales, num_steps) < 1 or height % 2**num_scales or width % 2**num_scales:
            raise InputError(
                f"Glow cannot halve images of {height}x{width} pixels {num_scales} times",
                subject="num_scales",
                remedy="reduce num_scales or pad the images",
            )
        self.image_shape = tuple(image_shape)
        self.scales = nn.ModuleList()
        for _ in range(num_scales):
            depth *= 4
            self.scales.append(nn.ModuleList(_Step(depth, channels) for _ in range(num_steps)))
            depth //= 2

    def forward(self, context: Tensor | None = None) -> Bijection:
        return Bijection(_Invertible(self.to_image, self.to_noise), torch.Size())

    def to_noise(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map images, ``batch | D``, to noise; return it and log |d noise / dx|, ``batch |``."""
        h, log_det, halves = x.reshape(-1, *self.image_shape), x.new_zeros(()), []
        for scale in self.scales:
            h = pixel_unshuffle(h, 2)
            for step in cast(nn.ModuleList, scale):
                h, change = step(h)
                log_det = log_det + change
            half, h = h.chunk(2, 1)
            halves.append(half.flatten(1))
        noise = torch.cat([*halves, h.flatten(1)], -1)
        return noise.reshape(x.shape), log_det.reshape(x.shape[:-1])

    def to_image(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Map noise to images; return them and log |dx / d noise|."""
        rest, log_det, halves = noise.reshape(-1, noise.shape[-1]), noise.new_zeros(()), []
        depth, height, width = self.image_shape
        for _ in self.scales:
            depth, height, width = 2 * depth, height // 2, width // 2
            half, rest = rest.tensor_split([depth * height * width], -1)
            halves.append(half.unflatten(-1, (depth, height, width)))
        h = rest.unflatten(-1, (depth, height, width))
        for scale, half in zip(reversed(self.scales), reversed(halves), strict=True):
            h = torch.cat([half, h], 1)
            for step in reversed(cast(nn.ModuleList, scale)):
                h, change = cast(_Step, step).inverse(h)
                log_det = log_det + change
            h = pixel_shuffle(h, 2)
        return h.reshape(noise.shape), log_det.reshape(noise.shape[:-1])


class _Invertible:
    """Hold a map and its inverse, each with its log-determinant, as zuko's transforms do."""

    def __init__(self, forward: Callable[..., object], inverse: Callable[..., object]) -> None:
        self.call_and_ladj, self.inverse = forward, inverse

    @property
    def inv(self) -> "_Invertible":
        return _Invertible(self.inverse, self.call_and_ladj)


class _Step(nn.Module):
    """Map ``N, C, H, W`` to itself, with the log-determinant, ``N``."""

    order: Tensor

    def __init__(self, depth: int, channels: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(depth))
        self.shift = nn.Parameter(torch.zeros(depth))
        self.mixing = nn.Parameter(torch.zeros(depth, depth))  # L below the diagonal, U above
        self.register_buffer("order", torch.eye(depth)[torch.randperm(depth)])
        last = nn.Conv2d(channels, depth, 3, padding=1)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        self.network = nn.Sequential(
            nn.Conv2d(depth // 2, channels, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 1),
            nn.SiLU(),
            last,
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = conv2d(x, self.matrix()[..., None, None], self.shift)
        fixed, moved = h.chunk(2, 1)
        log_scale, shift = self.coupling(fixed)
        h = torch.cat([fixed, moved * log_scale.exp() + shift], 1)
        return h, log_scale.sum((1, 2, 3)) + self.log_scale.sum() * x.shape[2:].numel()

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        fixed, moved = y.chunk(2, 1)
        log_scale, shift = self.coupling(fixed)
        h = torch.cat([fixed, (moved - shift) * (-log_scale).exp()], 1)
        back = torch.linalg.inv_ex(self.matrix()).inverse  # whose check would wait for the device
        x = conv2d(h - self.shift[:, None, None], back[..., None, None])
        return x, -log_scale.sum((1, 2, 3)) - self.log_scale.sum() * y.shape[2:].numel()

    def matrix(self) -> Tensor:
        """Return the 1x1 convolution P L U, (C, C), with the channels' scales on U's diagonal."""
        lower = self.mixing.tril(-1) + self.mixing.new_ones(len(self.mixing)).diag()
        return self.order @ lower @ (self.mixing.triu(1) + self.log_scale.exp().diag())

    def coupling(self, fixed: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = self.network(fixed).chunk(2, 1)
        return 2 * torch.tanh(raw / 2), shift  # a scale between exp(-2) and exp(2)
