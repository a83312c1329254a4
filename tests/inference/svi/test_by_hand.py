"""`fit` and `evaluate` are what one would write by hand in plain torch, given the same noise."""

from functools import partial

import torch
from by_hand import HandVAE
from torch import Tensor, nn
from torch.optim import Adam

from pyro_vae import evaluate, fit, load
from pyro_vae.inference.svi.minibatching import Minibatching
from pyro_vae.models import VAE
from pyro_vae.networks import MLP

DIGITS = load("digits", binarize="fixed")
LATENT_DIM, HIDDEN = 4, 32


def ours() -> VAE:
    network = partial(MLP, hidden_dims=(HIDDEN, HIDDEN), activation=nn.Softplus)
    return VAE(DIGITS.event_shape, LATENT_DIM, encoder=network, decoder=network)


def the_same_by_hand(vae: VAE) -> HandVAE:
    hand = HandVAE(closed_form=False, data_dim=64, hidden=HIDDEN, latent_dim=LATENT_DIM)
    ours = [*vae.recognition.state_dict().values(), *vae.likelihood.state_dict().values()]
    hand.load_state_dict(dict(zip(hand.state_dict(), ours, strict=True)))
    return hand


def train_by_hand(hand: HandVAE, x: Tensor, epochs: int, seed: int) -> None:
    optimizer = Adam(hand.parameters(), lr=3e-3)
    torch.manual_seed(seed)
    for epoch in range(epochs):
        for index in Minibatching(len(x), 100, shuffle=True).order(seed, epoch).split(100):
            optimizer.zero_grad()
            noise = torch.normal(torch.zeros(len(index), LATENT_DIM), 1.0)
            hand.loss(x[index].flatten(1), noise).backward()
            optimizer.step()


def test_the_same_noise_gives_the_same_parameters() -> None:
    vae, x = ours(), DIGITS.train.read()
    hand = the_same_by_hand(vae)
    fit(vae, x, epochs=3, batch_size=100, optimizer=partial(Adam, lr=3e-3), seed=5,
        device="cpu", progress=False)  # fmt: skip
    train_by_hand(hand, x, 3, seed=5)
    expected = the_same_by_hand(vae).state_dict()
    for name, value in hand.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-4)


def test_the_held_out_elbo_agrees_within_its_standard_error() -> None:
    vae, test = ours(), DIGITS.test.read()
    fit(vae, DIGITS, epochs=100, optimizer=partial(Adam, lr=3e-3), progress=False, device="cpu")
    hand = the_same_by_hand(vae)
    with torch.no_grad():
        draws = [hand.loss(test.flatten(1), torch.randn(len(test), LATENT_DIM)) for _ in range(200)]
    elbos = -torch.stack(draws)
    evaluation = evaluate(vae, test, num_particles=200, seed=0)
    error = 2**0.5 * elbos.std().item() / 200**0.5  # both are means of 200 draws an image
    assert abs(evaluation.elbo.mean().item() - elbos.mean().item()) < 4 * error
    assert elbos.mean() > -30  # untrained it is below -45
