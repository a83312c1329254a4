"""A likelihood of images in which each value depends on those before it."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae import distributions
from pyro_vae.errors import InputError
from pyro_vae.likelihoods.likelihood import Likelihood, LikelihoodFactory, PlaceholderDecoder
from pyro_vae.likelihoods.unit_interval import Bernoulli
from pyro_vae.networks import MLP, Network, NetworkFactory, Shape
from pyro_vae.networks.pixels import CausalPixels


class PixelCNN(Likelihood):
    """Model images in reading order: p(x | z) = prod_i p(x_i | x_1, ..., x_(i-1), z).

    The channels of a pixel follow one another. ``likelihood`` gives the distribution of one value. What it
    learns outside a decoder is one parameter for each channel, the same at all pixels. Draws of unbounded
    values, such as counts, may grow from pixel to pixel.

    A decoder that reads all earlier pixels can ignore z. A short reach, ``num_layers + 1`` times half the
    kernel, leaves the rest to z; a late KL term (``fit``'s ``kl_warmup``) helps, too.

    Args:
        latent_dim: size of z.
        data_shape: (channels, height, width).
        decoder: makes the network from z to the features that are added at each pixel.
        likelihood: makes p(x_i | features), any likelihood of independent values.
        width: number of features at each pixel.
        num_layers: gated layers after the first.
        kernel_size: side of the square around a pixel whose upper half one layer reads; odd.

    Raises:
        InputError: the data are not images, the likelihood's values depend on one another, or a size does
            not suit a convolution.

    Source: A. van den Oord, N. Kalchbrenner, O. Vinyals, L. Espeholt, A. Graves, K. Kavukcuoglu,
    "Conditional image generation with PixelCNN decoders", 2016, https://arxiv.org/abs/1606.05328; in VAEs:
    I. Gulrajani et al., "PixelVAE: a latent variable model for natural images", 2016,
    https://arxiv.org/abs/1611.05013.

    >>> p = PixelCNN(2, (1, 4, 4))(torch.zeros(5, 2))
    >>> p.log_prob(p.sample()).shape
    torch.Size([5])
    """

    not_a_part = "its pixels depend on one another"
    example: Tensor

    def __init__(
        self,
        latent_dim: int,
        data_shape: Shape,
        decoder: NetworkFactory = MLP,
        likelihood: LikelihoodFactory = Bernoulli,
        width: int = 32,
        num_layers: int = 3,
        kernel_size: int = 5,
    ) -> None:
        nn.Module.__init__(self)
        if len(data_shape) != 3:
            raise InputError(
                f"PixelCNN cannot model data of shape {tuple(data_shape)}",
                subject="PixelCNN",
                expected="images (channels, height, width)",
            )
        channels, *size = data_shape

        self.event_dim = 3
        self.values = Likelihood.make(likelihood, latent_dim, (channels, 1, 1), PlaceholderDecoder)
        self.check_part(self.values)
        parameters = self.values.parameters_per_value
        self.network = CausalPixels(channels, parameters, width, num_layers, kernel_size)
        self.decoder = Network.make(decoder, (latent_dim,), (width, *size))
        example = torch.zeros(parameters, channels, 1, 1)
        self.register_buffer("example", example, persistent=False)

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        return distributions.AutoregressiveImage(
            self.network, self.values.from_parameters, self.example, self.decoder(z)
        )

    def from_parameters(self, parameters: Tensor) -> dist.TorchDistribution:
        raise InputError(
            "the pixels of PixelCNN are not independent, so none can be left out",
            subject="PixelCNN",
        )
