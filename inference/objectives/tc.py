"""The KL term in three parts, of which the total correlation has a weight of its own."""

import math

import torch
from torch import Tensor

from pyro_vae.errors import InputError, at_least_1
from pyro_vae.inference.objectives.aggregate import Aggregate, latent_vector
from pyro_vae.inference.objectives.guide_draws import GuideDraws
from pyro_vae.inference.objectives.objective import checked_number
from pyro_vae.inference.objectives.requirements import factors


class TCVAE(Aggregate):
    """sum_n E[log p(x | z)] - alpha MI - beta TC - gamma KL', where the KL term is MI + TC + KL'.

    MI = E log q(z | x) / q(z) is the mutual information of datum and latent vector, TC =
    E log q(z) / prod_d q(z_d) the total correlation, KL' = E log prod_d q(z_d) / p(z). The aggregate
    posterior q(z) = (1/N) sum_n q(z | x_n) is estimated from the batch, the datum itself with weight 1/N
    and the others alike with the rest: minibatch-stratified sampling, averaged over the order of the
    batch. It is exact where the batch holds all data; else q(z) is unbiased, its logarithm too low. With
    three weights of 1 this is the ELBO; otherwise no bound, and a fit is judged by the ELBO.

    FactorVAE penalises the same TC by way of a discriminator.

    Source: R. T. Q. Chen, X. Li, R. Grosse, D. Duvenaud, "Isolating sources of disentanglement in
    variational autoencoders", 2018, https://arxiv.org/abs/1802.04942, appendix C.

    Args:
        beta: weight of the total correlation.
        alpha: weight of the mutual information.
        gamma: weight of what is left.
        num_data: N; ``fit`` knows it.
    """

    independent = True
    separates_prior = True

    def __init__(
        self, beta: float = 6.0, alpha: float = 1.0, gamma: float = 1.0, num_data: int | None = None
    ) -> None:
        super().__init__()
        self.alpha, self.beta, self.gamma = (
            checked_number(name, value, least=0)
            for name, value in (("alpha", alpha), ("beta", beta), ("gamma", gamma))
        )
        self.num_data = None if num_data is None else at_least_1("num_data", num_data)

    def value(self, draws: GuideDraws) -> Tensor:
        log_probs = draws.log_probs
        log_joint, log_numbers = self.log_aggregate(draws)
        information = log_probs.log_guide[0] - log_joint
        correlation = log_joint - log_numbers
        rest = log_numbers - log_probs.log_prior[0]
        kl = self.alpha * information + self.beta * correlation + self.gamma * rest
        return draws.scale * (log_probs.log_likelihood[0] - kl).sum()

    def log_aggregate(self, draws: GuideDraws) -> tuple[Tensor, Tensor]:
        """log q(z_n) and sum_d log q(z_nd) of each unit's vector, ``units |``; weighed as q(z_n | x_n)."""
        site, _ = latent_vector(draws)
        weight = draws.weight(site)
        weight = 1.0 if weight is None else weight
        base = factors(site["fn"])
        pairs = base.log_prob(site["value"].unsqueeze(1))  # (U, U | Z): z_n given x_m
        log_weights = log_stratified_weights(len(pairs), self.size(draws)).to(pairs)
        joint = (log_weights + pairs.sum(-1)).logsumexp(1)
        numbers = (log_weights[..., None] + pairs).logsumexp(1).sum(-1)
        return weight * joint, weight * numbers

    def size(self, draws: GuideDraws) -> int:
        """N."""
        structure = draws.structure
        known = structure.size if structure.size != structure.num_units else None
        size = self.num_data or known or draws.plan.num_data
        if size is None or size < structure.num_units:
            raise InputError(
                f"TCVAE must know how many data there are in all, and the batch holds "
                f"{structure.num_units}: say num_data" + (f", not {size}" if size else "")
            )
        return size


def log_stratified_weights(batch: int, size: int) -> Tensor:
    """log of what unit j counts in q(z_i), (batch, batch): 1/N itself, each other (N - 1) / (N (B - 1)).

    >>> log_stratified_weights(3, 3).exp().sum(1)
    tensor([1.0000, 1.0000, 1.0000])
    """
    if batch == 1:  # nothing to compare with: q(z | x) itself, so that this is the ELBO
        return torch.zeros(1, 1)
    other = math.log1p(-1 / size) - math.log(batch - 1)
    return torch.full((batch, batch), other).fill_diagonal_(-math.log(size))
