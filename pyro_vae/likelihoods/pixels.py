"""A likelihood of images, each pixel of which depends on those before it."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae import distributions
from pyro_vae.errors import InputError
from pyro_vae.likelihoods.likelihood import Likelihood, LikelihoodFactory, Outputs
from pyro_vae.likelihoods.unit_interval import Bernoulli
from pyro_vae.networks import MLP, Network, NetworkFactory, Shape
from pyro_vae.networks.pixels import CausalPixels


class PixelCNN(Likelihood):
    """p(x | z) = prod_i p(x_i | x_1, ..., x_(i-1), z) of images, pixels in reading order.

    The channels of a pixel come one after another. What a value's distribution is, any likelihood of
    independent values says: ``Bernoulli``, ``partial(Categorical, levels=256)`` and so on; what it learns
    beside a decoder is each channel's, at all pixels the same. Draws of values without bound, as counts
    are, may grow from pixel to pixel.

    A decoder that sees all pixels before can do without z. A short reach, of ``num_layers + 1`` times half
    the kernel, leaves to z what is seen from further away; a KL term that is let in late (``fit``'s
    ``kl_warmup``) helps, too.

    Source: A. van den Oord, N. Kalchbrenner, O. Vinyals, L. Espeholt, A. Graves, K. Kavukcuoglu,
    "Conditional image generation with PixelCNN decoders", 2016, https://arxiv.org/abs/1606.05328; in VAEs:
    I. Gulrajani et al., "PixelVAE: a latent variable model for natural images", 2016,
    https://arxiv.org/abs/1611.05013.

    Args:
        latent_dim: size of z.
        data_shape: (channels, height, width).
        decoder: makes the network from z to what is added at each pixel, (width, height, width of x).
        likelihood: p(x_i | what is known of it).
        width: features at each pixel.
        num_layers: gated layers after the first.
        kernel_size: side of the square around a pixel that one layer looks at the upper half of; odd.

    :raises InputError: data that are no images, a likelihood that is none of single values, or sizes
        that no convolution has.

    >>> p = PixelCNN(2, (1, 4, 4))(torch.zeros(5, 2))
    >>> p.log_prob(p.sample()).shape
    torch.Size([5])
    """

    no_part = "its pixels depend on one another"
    like: Tensor

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
                f"PixelCNN needs images (channels, height, width), not data of shape {tuple(data_shape)}"
            )
        channels, *size = data_shape

        self.event_dim = 3
        self.values = Likelihood.make(likelihood, latent_dim, (channels, 1, 1), Outputs)
        self.check_part(self.values)
        outputs = self.values.numbers_per_value
        self.network = CausalPixels(channels, outputs, width, num_layers, kernel_size)
        self.decoder = Network.make(decoder, (latent_dim,), (width, *size))
        like = torch.zeros(outputs, channels, 1, 1)
        self.register_buffer("like", like, persistent=False)

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        return distributions.Raster(self.network, self.values.of_values, self.like, self.decoder(z))

    def of_values(self, outputs: Tensor) -> dist.TorchDistribution:
        raise InputError("the pixels of such an image are not independent: none can be left out")
