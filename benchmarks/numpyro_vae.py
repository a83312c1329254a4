"""The networks of `svi_step.py` in NumPyro, which is a peer and need not be installed."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import random
from numpyro.infer import SVI, Trace_ELBO

LATENT_DIM = 50
Layers = list[tuple[Any, Any]]
Net = tuple[
    Callable[[Any], Layers], Callable[[Layers, Any], Any]
]  # initial parameters, and forward
LAYOUT = ("NCHW", "OIHW", "NCHW")


def affine(key: Any, fan_in: int, shape: tuple[int, ...], bias: int) -> tuple[Any, Any]:
    return random.normal(key, shape) / fan_in**0.5, jnp.zeros(bias)


def mlp(*dims: int) -> Net:
    def start(key: Any) -> Layers:
        pairs = list(pairwise(dims))
        keys = random.split(key, len(pairs))
        return [affine(k, a, (a, b), b) for k, (a, b) in zip(keys, pairs, strict=True)]

    def forward(layers: Layers, x: Any) -> Any:
        x = x.reshape(len(x), -1)
        for weight, bias in layers[:-1]:
            x = jax.nn.softplus(x @ weight + bias)
        weight, bias = layers[-1]
        return x @ weight + bias

    return start, forward


def conv_encoder() -> Net:
    channels = (1, 32, 64, 64)

    def start(key: Any) -> Layers:
        keys = random.split(key, 4)
        convolutions = [
            affine(k, 9 * a, (b, a, 3, 3), b)
            for k, a, b in zip(keys, channels, channels[1:], strict=False)
        ]
        return [*convolutions, affine(keys[3], 1024, (1024, 2 * LATENT_DIM), 2 * LATENT_DIM)]

    def forward(layers: Layers, x: Any) -> Any:
        x = x.reshape(-1, 1, 28, 28)
        for weight, bias in layers[:-1]:
            x = jax.lax.conv_general_dilated(
                x, weight, (2, 2), ((1, 1), (1, 1)), dimension_numbers=LAYOUT
            )
            x = jax.nn.softplus(x + bias[:, None, None])
        weight, bias = layers[-1]
        return x.reshape(len(x), -1) @ weight + bias

    return start, forward


def conv_decoder() -> Net:
    channels, sizes = (64, 64, 32, 1), (4, 7, 14, 28)

    def start(key: Any) -> Layers:
        keys = random.split(key, 4)
        convolutions = [
            affine(k, 9 * a, (b, a, 3, 3), b)
            for k, a, b in zip(keys[1:], channels, channels[1:], strict=False)
        ]
        return [affine(keys[0], LATENT_DIM, (LATENT_DIM, 1024), 1024), *convolutions]

    def forward(layers: Layers, z: Any) -> Any:
        weight, bias = layers[0]
        x = (z @ weight + bias).reshape(-1, 64, 4, 4)
        for (weight, bias), size, up in zip(layers[1:], sizes, sizes[1:], strict=False):
            extra = up - (2 * size - 1)  # as torch's output_padding
            x = jax.lax.conv_general_dilated(
                jax.nn.softplus(x), weight, (1, 1), ((1, 1 + extra), (1, 1 + extra)),
                lhs_dilation=(2, 2), dimension_numbers=LAYOUT,
            )  # fmt: skip
            x = x + bias[:, None, None]
        return x.reshape(len(x), -1)

    return start, forward


NETWORKS: dict[str, tuple[Net, Net]] = {
    "784-200-200-50": (mlp(784, 200, 200, 2 * LATENT_DIM), mlp(LATENT_DIM, 200, 200, 784)),
    "convolutional": (conv_encoder(), conv_decoder()),
}


def svi(network: str) -> SVI:
    (start_encoder, encode), (start_decoder, decode) = NETWORKS[network]

    def model(x: Any) -> None:
        layers = numpyro.param("decoder", start_decoder)
        with numpyro.plate("data", len(x)):
            z = numpyro.sample("z", dist.Normal(jnp.zeros(LATENT_DIM), 1.0).to_event(1))
            likelihood = dist.Bernoulli(logits=decode(layers, z)).to_event(1)
            numpyro.sample("x", likelihood, obs=x)

    def guide(x: Any) -> None:
        layers = numpyro.param("encoder", start_encoder)
        loc, log_scale = jnp.split(encode(layers, x), 2, -1)
        with numpyro.plate("data", len(x)):
            numpyro.sample("z", dist.Normal(loc, jnp.exp(log_scale)).to_event(1))

    return SVI(model, guide, numpyro.optim.Adam(1e-3), Trace_ELBO())


def jitted_step(network: str, x: Any) -> tuple[Callable[[Any], tuple[Any, Any]], Any]:
    """(state -> state, loss), and the first state."""
    inference = svi(network)
    rows = jnp.asarray(x.reshape(len(x), -1))
    state = inference.init(random.PRNGKey(0), rows)
    update = jax.jit(inference.update)
    return lambda s: update(s, rows), state


def scanned_epoch(network: str, x: Any, batch_size: int) -> tuple[Callable[[Any], Any], Any]:
    """(state -> state) over all full batches in a random order, one compiled program; a first state."""
    inference = svi(network)
    rows = jnp.asarray(x.reshape(len(x), -1))
    state = inference.init(random.PRNGKey(0), rows[:batch_size])
    steps = len(rows) // batch_size

    @jax.jit
    def epoch(state: Any, key: Any) -> tuple[Any, Any]:
        order = random.permutation(key, len(rows))[: steps * batch_size].reshape(steps, batch_size)
        return jax.lax.scan(lambda s, index: inference.update(s, rows[index]), state, order)

    return epoch, state
