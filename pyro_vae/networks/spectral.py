"""Spectral normalisation: a network whose layers stretch nothing."""

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from pyro_vae.networks.mlp import MLP
from pyro_vae.networks.network import Network, NetworkFactory, Shape

LAYERS = nn.Linear | nn.Conv2d | nn.ConvTranspose2d


class SpectralNorm(Network):
    """Divide the weights of another network's layers by their largest singular values.

    Each layer then has slope 1 at most, and the network the product of its nonlinearities' slopes (1 with
    rectifiers, 1.1 to the power of their number with SiLU): a critic for ``Wasserstein`` or ``Hinge``. Each
    pass in training takes one step of the power iteration. A convolution counts as its kernel's matrix.

    Args:
        in_shape: shape of one input.
        out_shape: shape of one output.
        network: makes the network from an input and an output shape.

    Source: T. Miyato, T. Kataoka, M. Koyama, Y. Yoshida, "Spectral normalization for generative adversarial
    networks", 2018, https://arxiv.org/abs/1802.05957.

    >>> import torch
    >>> SpectralNorm((3,), (1,))(torch.zeros(5, 3)).shape
    torch.Size([5, 1])
    """

    def __init__(self, in_shape: Shape, out_shape: Shape, network: NetworkFactory = MLP) -> None:
        super().__init__(in_shape, out_shape)
        self.network = Network.make(network, in_shape, out_shape)
        for module in list(self.network.modules()):
            if isinstance(module, LAYERS):
                spectral_norm(module)

    def transform(self, x: Tensor) -> Tensor:
        out: Tensor = self.network(x)
        return out
