"""The KL term in three parts, with a weight for the total correlation."""

import math

from torch import Tensor

from pyro_vae.argument_checks import number
from pyro_vae.errors import InputError, at_least_1
from pyro_vae.inference.objectives.aggregate import Aggregate, latent_vector
from pyro_vae.inference.objectives.guide_draws import GuideDraws
from pyro_vae.inference.objectives.requirements import factors


class TCVAE(Aggregate):
    """Maximise sum_n E[log p(x | z)] - alpha MI - beta TC - gamma KL', where the KL term is MI + TC + KL'.

    MI = E log q(z | x) / q(z) is the mutual information of datum and latent vector, TC =
    E log q(z) / prod_d q(z_d) the total correlation, KL' = E log prod_d q(z_d) / p(z). The aggregate
    posterior q(z) = (1/N) sum_n q(z | x_n) is estimated from the batch, the datum itself with weight 1/N
    and the others with equal parts of the rest: minibatch-stratified sampling, averaged over the order of
    the batch. It is exact where the batch holds all data; otherwise q(z) is unbiased, and log q(z) too low.
    With weights of 1 this is the ELBO; otherwise it is not a bound, and a fit validates by the ELBO.

    FactorVAE penalises the same TC by a discriminator.

    Source: R. T. Q. Chen, X. Li, R. Grosse, D. Duvenaud, "Isolating sources of disentanglement in
    variational autoencoders", 2018, https://arxiv.org/abs/1802.04942, appendix C.

    Args:
        beta: weight of the total correlation.
        alpha: weight of the mutual information.
        gamma: weight of the rest of the KL term.
        num_data: N; ``fit`` knows it.
    """

    independent = True
    separates_prior = True

    def __init__(
        self, beta: float = 6.0, alpha: float = 1.0, gamma: float = 1.0, num_data: int | None = None
    ) -> None:
        super().__init__()
        self.alpha, self.beta, self.gamma = (
            number(name, value, least=0)
            for name, value in (("alpha", alpha), ("beta", beta), ("gamma", gamma))
        )
        self.num_data = None if num_data is None else at_least_1("num_data", num_data)

    def value(self, draws: GuideDraws) -> Tensor:
        log_probs = draws.log_probs
        log_joint, log_product = self.log_aggregate(draws)
        information = log_probs.log_guide[0] - log_joint
        correlation = log_joint - log_product
        rest = log_product - log_probs.log_prior[0]
        kl = self.alpha * information + self.beta * correlation + self.gamma * rest
        return draws.scale * (log_probs.log_likelihood[0] - kl).sum()

    def log_aggregate(self, draws: GuideDraws) -> tuple[Tensor, Tensor]:
        """Return log q(z_n) and sum_d log q(z_nd) of each unit, ``units |``, weighted as q(z_n | x_n)."""
        site, _ = latent_vector(draws)
        weight = draws.weight(site)
        weight = 1.0 if weight is None else weight
        base = factors(site["fn"])
        pairs = base.log_prob(site["value"].unsqueeze(1))  # (U, U | Z): z_n given x_m
        log_weights = log_stratified_weights(len(pairs), self.size(draws), pairs)
        joint = (log_weights + pairs.sum(-1)).logsumexp(1)
        numbers = (log_weights[..., None] + pairs).logsumexp(1).sum(-1)
        return weight * joint, weight * numbers

    def size(self, draws: GuideDraws) -> int:
        """Return N.

        Raises:
            InputError: it is unknown.
        """
        structure = draws.structure
        known = structure.size if structure.size != structure.num_units else None
        size = self.num_data or known or draws.plan.num_data
        if size is None or size < structure.num_units:
            raise InputError(
                f"TCVAE must know how many data there are, and the batch holds {structure.num_units}"
                + (f", more than num_data={size}" if size else ""),
                subject="num_data",
                remedy="give num_data",
            )
        return size


def log_stratified_weights(batch: int, size: int, like: Tensor) -> Tensor:
    """Return log-weights of units in q(z_i), (batch, batch): 1/N for i, (N - 1) / (N (B - 1)) for others.

    >>> log_stratified_weights(3, 3, torch.zeros(())).exp().sum(1)
    tensor([1.0000, 1.0000, 1.0000])
    """
    if batch == 1:  # nothing to compare with: q(z | x) itself, so that this is the ELBO
        return like.new_zeros(1, 1)
    other = math.log1p(-1 / size) - math.log(batch - 1)
    return like.new_full((batch, batch), other).fill_diagonal_(-math.log(size))
