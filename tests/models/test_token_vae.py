"""Sentences: the sum over all of them, and the context that they share."""

from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from refused import refused
from torch import Tensor

from pyro_vae import InputError, fit, log_evidence, posterior, prior_samples
from pyro_vae.likelihoods import Sentences, Tokens
from pyro_vae.models import VAE, TokenVAE


def every(names: int, steps: int) -> Tensor:
    return torch.tensor(list(product(range(names), repeat=steps)))


@pytest.mark.parametrize("end", [None, 1])
def test_all_sentences_together_have_probability_1(end: int | None) -> None:
    torch.manual_seed(0)
    p = Sentences(2, (4,), num_tokens=3, end=end)(torch.randn(5, 1, 2))
    mass = p.log_prob(every(3, 4)).exp()  # (5, 81)
    torch.testing.assert_close(mass.sum(1), torch.ones(5))
    possible = {None: 81, 1: 1 + 2 + 4 + 8 + 16}[end]
    assert (mass > 0).sum(1).tolist() == [possible] * 5


def test_draws_follow_the_probabilities() -> None:
    torch.manual_seed(0)
    p, count = Sentences(2, (3,), num_tokens=2, end=0)(3 * torch.randn(2)), 20_000
    drawn = p.sample((count,))
    for sentence in every(2, 3):
        mass = p.log_prob(sentence).exp()
        share = (drawn == sentence).all(-1).float().mean()
        assert abs(share - mass) <= 5 * (mass * (1 - mass) / count).sqrt()


def test_a_step_does_not_look_ahead() -> None:
    torch.manual_seed(0)
    network = Sentences(2, (5,), num_tokens=4).network
    c = torch.eye(4)[torch.randint(4, (1, 5))].requires_grad_()
    for t in range(5):
        (slope,) = torch.autograd.grad(network(c, torch.zeros(1, 2))[0, t].sum(), c)
        assert not slope[0, t:].any()
        assert t == 0 or slope[0, :t].any(-1).all()


def test_the_evidence_of_all_sentences_is_1() -> None:
    torch.manual_seed(0)
    vae = TokenVAE((2, 2), 2, num_tokens=2)
    found = log_evidence(vae, every(2, 4).reshape(-1, 2, 2), num_particles=20_000, seed=0)
    p = found.log_evidence.exp()
    error = (p * found.standard_error).square().sum().sqrt()
    assert abs(p.sum() - 1) < 5 * error + 1e-4


def test_it_learns_what_a_sentence_is_about() -> None:
    """z holds which of two alphabets a sentence has, and a reconstruction keeps it."""
    torch.manual_seed(0)
    which = torch.randint(2, (600, 1))
    x = 1 + 3 * which + torch.randint(3, (600, 6))  # 1, 2, 3 or 4, 5, 6; 0 is the end
    x = torch.where(torch.arange(6) < torch.randint(2, 7, (600, 1)), x, 0)
    vae = TokenVAE((6,), 2, num_tokens=7, end=0, word_dropout=0.5, hidden_dim=32)
    adam = partial(torch.optim.Adam, lr=1e-2)
    fit(vae, x, epochs=30, optimizer=adam, progress=False, device="cpu", beta=0.3)
    made = posterior(vae, x, num_draws=1, seed=0).predictive(seed=0)["x"][0]
    first = made[:, 0]
    assert ((first > 3).long() == which[:, 0]).float().mean() > 0.9
    drawn = prior_samples(vae, x, num_draws=1, seed=0).predictive["x"][0]
    after = torch.where(drawn == 0, 1, 0).cumsum(1) > 0
    assert (drawn[after] == 0).all()  # nothing comes after the end


def test_refusals() -> None:
    with refused("end", expected="0 to 2"):
        TokenVAE((4,), num_tokens=3, end=3)
    with refused("num_tokens", expected="at least 2"):
        TokenVAE((4,), num_tokens=1)
    with refused("word_dropout", expected="below 1"):
        TokenVAE((4,), word_dropout=1.0)
    with refused("Sentences", remedy="Tokens"):
        Sentences(2, (4,)).from_parameters(torch.zeros(3))


MAKERS = [
    partial(TokenVAE, num_tokens=3),
    partial(VAE, likelihood=partial(Sentences, num_tokens=3)),
    partial(VAE, likelihood=partial(Tokens, num_tokens=3)),
]


WRONG = [
    ((4,), 0.3),
    ((4,), 0.99),
    ((4,), -0.5),
    ((4,), -1.0),
    ((4,), 3.0),
    ((2, 2), 0.3),
    ((2, 2), 3.0),
]


@pytest.mark.parametrize(("shape", "wrong"), WRONG)
@pytest.mark.parametrize("make", MAKERS, ids=["TokenVAE", "Sentences", "Tokens"])
def test_other_values_than_token_ids_are_refused(make, shape, wrong: float) -> None:
    x = torch.zeros(3000, *shape)
    x[-1, -1] = wrong  # beyond the rows that are looked at first
    vae = make(shape, 2)
    remedies = ("num_tokens",) if wrong == int(wrong) else ("num_tokens", "--standardize")
    options: dict[str, Any] = {"epochs": 1, "progress": False, "device": "cpu"}
    attempts = [
        lambda: fit(vae, x, batch_size=1000, **options),
        lambda: log_evidence(vae, x, num_particles=1, device="cpu"),
        lambda: fit(vae, x[:10], validation=x[-300:], batch_size=300, **options),
    ]
    for attempt in attempts:  # the encoder of a TokenVAE refuses x, or the likelihood of a VAE
        with pytest.raises(InputError) as caught:
            attempt()
        assert all(words in str(caught.value) for words in ("0 to 2", f"hold {wrong:g}"))
        assert any(remedy in str(caught.value) for remedy in remedies)
    assert "validation" in str(caught.value)
    with pytest.raises(ValueError, match="support"):
        vae.likelihood(torch.zeros(2)).log_prob(x[-1])
