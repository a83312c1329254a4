"""Wrong discriminators, labels and sites: each is refused in one sentence, or plays."""

from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from refused import refused
from torch import Tensor, nn

from pyro_vae import fit
from pyro_vae.inference.objectives import VAEGAN, Adversarial, Hinge
from pyro_vae.models import VAE

play = partial(fit, epochs=1, batch_size=32, progress=False, device="cpu")


class Lines(nn.Module):
    """z ~ Normal(0, I), x ~ Normal(W (z, one-hot y), 0.1); perhaps a number of each row, too."""

    def __init__(self, classes: int = 0):
        super().__init__()
        self.classes, self.net = classes, nn.Linear(2 + classes, 4)

    def model(self, x: Tensor, y: Tensor | None = None) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            if self.classes:
                z = torch.cat([z, nn.functional.one_hot(y, self.classes).float()], 1)
            pyro.sample("x", dist.Normal(self.net(z), 0.1).to_event(1), obs=x)


class TwoSites(Lines):
    def model(self, x: Tensor, y: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.net(z), 0.1).to_event(1), obs=x)
            pyro.sample("y", dist.Normal(z.sum(1), 0.1), obs=y)


def rows() -> Tensor:
    return torch.rand(64, 4)


class Judge(nn.Module):
    def __init__(self, width: int = 4, logits: int = 1):
        super().__init__()
        self.line = nn.Linear(width, logits)

    def forward(self, x: Tensor) -> Tensor:
        return self.line(x)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda one, other: Judge(logits=3), "shape (32, 1)"),
        (lambda one, other: Judge(width=7), ""),
        (lambda one: Judge(), ""),
        (lambda one, other: torch.sum, "parameters"),
        (lambda one, other: nn.Flatten(), "parameters"),
    ],
    ids=["three logits", "another width", "of one argument", "no module", "nothing to learn"],
)
def test_a_wrong_discriminator(make, expected) -> None:
    with refused("discriminator", expected=expected):
        play(Lines(), rows(), elbo=Adversarial(discriminator=make))


def test_a_network_in_place_of_what_makes_one() -> None:
    with refused("discriminator", remedy="pass Judge"):
        Adversarial(discriminator=Judge())
    with refused("loss", remedy="pass Hinge()"):
        Adversarial(Hinge)
    with refused("discriminator"):
        vae = VAE((4,), 2)
        play(vae, rows().round(), elbo=VAEGAN(discriminator=lambda one: Judge()))


def test_labels() -> None:
    y = torch.arange(64) % 3
    play(Lines(3), (rows(), y), elbo=Adversarial(num_classes=3))
    with refused("num_classes", remedy="num_classes=3"):
        play(Lines(3), (rows(), y), elbo=Adversarial(num_classes=2))
    with refused("num_classes"):
        play(Lines(3), (rows(), y), elbo=Adversarial())
    with refused("num_classes", remedy="leave it out"):
        play(Lines(), rows(), elbo=Adversarial(num_classes=3))


def test_a_number_and_a_vector_of_each_row_are_read_together() -> None:
    result = play(TwoSites(), (rows(), torch.rand(64)), elbo=Adversarial())
    assert 0 <= result.metrics[0]["coverage"] <= 1
