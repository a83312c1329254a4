"""The posterior as a result: draws by site, with their weights and diagnostics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pyro_vae import argument_checks as checks
from pyro_vae.inference.posterior import result_checks as of
from pyro_vae.inference.posterior.site_draws import SiteDraws
from pyro_vae.inference.posterior.summary import PROBABILITY, Summary, html, summarize
from pyro_vae.storage import atomic_write

if TYPE_CHECKING:
    from pyro_vae.inference.evidence.result import Evidence
    from pyro_vae.inference.posterior.impute import Imputation
    from pyro_vae.inference.posterior.new_rows import LogPredictive


@dataclass(frozen=True, eq=False, repr=False)
class Posterior(SiteDraws):
    """Hold draws of the latents given the data.

    ``draws`` have one weight each, for whatever is to be computed from them. ``particles`` are all that
    was drawn, with ``log_weights``; the figures of :meth:`summary` come from these. The dimensions of a
    site are the draws, its plates from the left, and its event; :meth:`dims` names them.

    Attributes:
        particles: by site, ``K | plates | event``.
        log_weights: with a smoothed tail; the weights of each unit sum to 1; (K, units), with one unit for
            a joint posterior.
        index: which particle each draw is, (draws, units).
        pareto_k: shape of the weights' tail, ``units |``; above :attr:`bad_k` a few of them decide.
        ess: effective sample size of the weights, 1 / sum w^2, of SMC that of its evidence, ``units |``.
        without_error: whether no Monte-Carlo error can be trusted, ``units |``.
        notes: sentences that the reader should know.
        layouts: the plates of each site of the model.
        observed: the names of the observed sites.
        computed: the names of what the model computes from latents (``pyro.deterministic``); these are
            among the particles and draws, too.
        categories: how many classes a latent has whose values are classes.
        unit: the plate of the units; None for one joint posterior.
        method: how the draws were made.
        num_chains: how many chains follow one another in the draws; 1 where the draws are independent.
        num_islands: how many independent groups the particles form, one after another; 1 where each
            particle is one.
        is_weighted: whether the particles differ in weight.
        is_independent: whether no draw depends on the one before it, as in a Markov chain.
        source: the program and its data.

    Source: A. Vehtari, D. Simpson, A. Gelman, Y. Yao, J. Gabry, "Pareto smoothed importance sampling",
    2024, https://arxiv.org/abs/1507.02646.
    """

    def summary(
        self, sites: Sequence[str] | None = None, *, probability: float = PROBABILITY
    ) -> Summary:
        """Return mean, sd, interval and Monte-Carlo error of every number of the latents.

        The error of a mean is sqrt(sum w^2 (z - mean)^2), and its effective sample size (sd / error)^2;
        both are missing where a few weights decide (:attr:`without_error`). Of SMC, the error is that of
        its islands, if larger. Of NUTS, error, ESS and R-hat
        are ArviZ's. A class has the probability of each of its values.

        Args:
            sites: those to show; by default all latents.
            probability: of the interval, the shortest that has it (highest density).

        Raises:
            InputError: there is no such latent, or no such probability.
        """
        checks.check_arguments(of.SUMMARY_CHECKS, locals())
        names = list(self.particles) if sites is None else list(sites)
        for name in names:
            self._check_site(name, self.particles)
        return summarize(self, names, probability)

    def most_probable(self) -> dict[str, Tensor]:
        """Return the most probable values, all together, of the latents that the model sums out.

        They are given the other latents of each draw: of a hidden Markov model the Viterbi path. Where
        there are no others, all draws have the same.

        Returns:
            by site, ``draws | plates | event``; nothing where no latent is summed out.

        >>> import pyro, pyro.distributions as dist
        >>> from pyro_vae import posterior
        >>> def model(x):
        ...     state, infer = 0, {"enumerate": "parallel"}
        ...     with pyro.plate("series", len(x)):
        ...         for t in pyro.markov(range(2)):
        ...             p = torch.tensor([[0.9, 0.1], [0.1, 0.9]])[state]
        ...             state = pyro.sample(f"state_{t}", dist.Categorical(p), infer=infer)
        ...             pyro.sample(f"x_{t}", dist.Normal(4.0 * state, 1.0), obs=x[:, t])
        >>> paths = posterior((model, lambda x: None), torch.tensor([[0.1, 3.9]]), seed=0).most_probable()
        >>> [int(paths[f"state_{t}"][0, 0]) for t in range(2)]
        [0, 1]
        """
        from pyro_vae.inference.posterior.predictive import best_given

        return best_given(self)

    # --- predictions --------------------------------------------------------------------------------

    def predictive(
        self, new: Any = None, *, num: int | None = None, seed: int | None = None
    ) -> dict[str, Tensor]:
        """Return draws of the data, by observed site: of the rows that were seen, or of new ones.

        For the data themselves all latents are those of the draws: x' from p(x' | z), to be compared with
        what was observed. For new rows the latents that all rows share are those of the draws. A latent
        that each row has for itself is not known for a new row: it comes from its prior, given the shared
        ones.
        Values of the response that are among ``new`` do not matter.

        Args:
            new: the model's arguments for new rows (a tensor, a tuple, or a mapping of names); by default
                the data.
            num: how many of the draws to use, evenly over all; by default all.
            seed: of the noise; by default it continues from torch's generator, without advancing it.

        Returns:
            by site, ``num | plates | event``.

        Raises:
            InputError: the posterior has fewer draws; the model does not take the new rows, or asks for
                another number of a shared latent; no plate holds all observed sites, so that new values may
                depend on those that were seen.

        >>> from pyro_vae import posterior
        >>> from pyro_vae.models import FactorAnalysis
        >>> of_rows = posterior(FactorAnalysis((3,), 2), torch.randn(5, 3), num_draws=50)
        >>> of_rows.predictive(num=20)["x"].shape
        torch.Size([20, 5, 3])
        """
        from pyro_vae.inference.posterior.new_rows import predict_new
        from pyro_vae.inference.posterior.predictive import predict_data

        checks.check_arguments(of.PREDICTIVE_CHECKS, locals())
        count = self.num_of(num)
        return (
            predict_data(self, count, seed) if new is None else predict_new(self, new, count, seed)
        )

    def reconstructions(self, *, seed: int | None = None) -> dict[str, Tensor]:
        """Return E[x' | x], the mean of replicated data, by observed site, ``plates | event``.

        It is the mean over the draws of E[x' | z]: the fitted values of a regression, the reconstructions
        of a VAE. Where the likelihood has no mean it is the mean of a replication at each draw.

        Args:
            seed: of these replications.

        >>> from pyro_vae import posterior
        >>> from pyro_vae.models import FactorAnalysis
        >>> of_rows = posterior(FactorAnalysis((3,), 2), torch.randn(5, 3), num_draws=50)
        >>> of_rows.reconstructions()["x"].shape
        torch.Size([5, 3])
        """
        from pyro_vae.inference.posterior.predictive import mean_of_data

        checks.check_arguments(of.SEED_CHECKS, locals())
        return mean_of_data(self, seed)

    def impute(
        self,
        site: str | None = None,
        *,
        quantiles: Sequence[float] = (0.05, 0.5, 0.95),
        seed: int | None = None,
    ) -> "Imputation":
        """Return p(x_missing | x_observed), where NaN in the data is missing.

        A value comes from p(x | z) at each particle of the latents given the observed values, with the
        particle's weight. Its error shrinks as 1 / sqrt(ess). The model, and the guide if it is used, must
        take NaN, as a VAE does whose likelihood is :class:`pyro_vae.likelihoods.Missing`.

        Args:
            site: the observed site; by default the only one.
            quantiles: their levels, between 0 and 1.
            seed: of the values; by default they continue from torch's generator, without advancing it.

        Raises:
            InputError: there are several observed sites; nothing shows which values are missing.

        Source: P.-A. Mattei, J. Frellsen, "MIWAE: deep generative modelling and imputation of incomplete
        data sets", 2018, https://arxiv.org/abs/1812.02633.

        >>> from functools import partial
        >>> from pyro_vae import posterior
        >>> from pyro_vae.likelihoods import Missing
        >>> from pyro_vae.models import VAE
        >>> from pyro_vae.networks import MaskedInput
        >>> vae = VAE((3,), 2, likelihood=Missing, encoder=MaskedInput)
        >>> x = torch.tensor([[0.5, float("nan"), 1.0]])
        >>> posterior(vae, x, num_draws=20).impute().draws[:, 0, [0, 2]].unique(dim=0)
        tensor([[0.5000, 1.0000]])
        """
        from pyro_vae.inference.posterior.impute import impute

        checks.check_arguments(of.IMPUTE_CHECKS, locals())
        return impute(self, site, torch.as_tensor(quantiles, dtype=torch.float64), seed)

    def log_predictive(
        self, new: Any, *, num: int | None = None, seed: int | None = None
    ) -> "LogPredictive":
        """Return log p(x_new | data) of each new row, in nats, with a Monte-Carlo error.

        It is the log of the mean over draws of p(x_new | shared latents, own latents), with a new row's own
        latents from their prior given the shared ones; those that the model sums out are summed out. Where
        rows share no latent it is the log evidence of the new rows.

        Args:
            new: the model's arguments for new rows, with their response.
            num: how many of the draws to use, evenly over all; by default all.
            seed: of the noise.

        Raises:
            InputError: as :meth:`predictive`; or no plate holds all observed sites.
        """
        from pyro_vae.inference.posterior.new_rows import log_predictive

        checks.check_arguments(of.PREDICTIVE_CHECKS, locals())
        return log_predictive(self, new, self.num_of(num), seed)

    def log_likelihood(
        self, *, conditional: bool = False, num_inner: int = 100, seed: int | None = None
    ) -> Tensor:
        """Return log p(x_n | draw) of each row of the data at each draw, ``draws, rows``, in nats.

        A row is a place in the outermost plate that holds all observed sites. Its own latents are
        integrated out, as leaving a row out takes: exactly where the model sums them out, and by importance
        sampling elsewhere. Given them (``conditional``), leave-one-out estimates are unreliable.

        Args:
            conditional: whether a row's own latents are given, too.
            num_inner: draws of a row's own latents, for each draw of the shared ones.
            seed: of these draws.

        Raises:
            InputError: the data have no rows; rows share no latent, or depend on one another's.

        Source: E. C. Merkle, D. Furr, S. Rabe-Hesketh, "Bayesian comparison of latent variable models:
        conditional versus marginal likelihoods", 2019, https://arxiv.org/abs/1802.04452.
        """
        from pyro_vae.inference.posterior.log_likelihood import given_all, integrated

        checks.check_arguments(of.LIKELIHOOD_CHECKS, locals())
        return given_all(self, seed) if conditional else integrated(self, num_inner, seed)

    def log_evidence(
        self,
        *,
        num_particles: int | None = None,
        symmetrize: bool = False,
        seed: int | None = None,
    ) -> "Evidence":
        """Estimate log p(x) of the data by bridge sampling from these draws, in nats.

        Args:
            num_particles: draws of the density that is fitted to them, by default 2,000.
            symmetrize: whether to replace draws by copies, by symmetries that the model shows.
            seed: of these.

        Raises:
            InputError: the draws have weights, as all but those of NUTS; or as
                :class:`pyro_vae.inference.Bridge`.

        >>> from pyro_vae import posterior
        >>> from pyro_vae.inference import NUTS
        >>> from pyro_vae.models import FactorAnalysis
        >>> model, x = FactorAnalysis((3,), 1), torch.randn(1, 3)
        >>> drawn = posterior(model, x, method=NUTS(num_chains=1), num_draws=500, seed=0)
        >>> evidence = drawn.log_evidence(seed=0)
        >>> off = (evidence.log_evidence - model.log_evidence(x)).abs() / evidence.standard_error
        >>> bool((off < 5).all())
        True
        """
        from pyro_vae.inference.posterior.bridged import bridged

        return bridged(self, num_particles, symmetrize, seed)

    # --- files -------------------------------------------------------------------------------------

    def to_arviz(
        self,
        *,
        coords: Mapping[str, Any] | None = None,
        conditional: bool = False,
        num_inner: int = 100,
        seed: int | None = 0,
    ) -> Any:
        """Return an ``InferenceData`` of ArviZ, from ArviZ 1.0 on a ``DataTree``.

        Its groups are ``posterior`` (the draws, one weight each), ``posterior_predictive``, ``prior`` and
        ``prior_predictive`` (500 draws at most), ``log_likelihood`` (as :meth:`log_likelihood` has it, for
        ``arviz.loo``), ``observed_data`` (NaN where a mask takes a value out), ``constant_data`` (the other
        arguments) and ``sample_stats`` (``log_weight`` and ``pareto_k``). Dimensions have the names of
        plates. Where there is no log-likelihood by rows, or no prior to draw from, ``attrs["notes"]`` says
        why.

        Args:
            coords: names for the places along a dimension, by its name (of the groups of a plate, say);
                by default numbers from 0.
            conditional: whether the log-likelihood is given a row's own latents, too.
            num_inner: draws of a row's own latents, where they are integrated out.
            seed: of the predictions and of these draws.

        Raises:
            InputError: a dimension has another number of places than names.

        >>> from pyro_vae import posterior
        >>> from pyro_vae.models import FactorAnalysis
        >>> found = posterior(FactorAnalysis((3,), 2), torch.randn(5, 3), num_draws=50)
        >>> dict(found.to_arviz()["posterior"]["z"].sizes)
        {'chain': 1, 'draw': 50, 'data': 5, 'z_dim_0': 2}
        """
        from pyro_vae.inference.posterior.arviz import to_arviz

        checks.check_arguments(of.LIKELIHOOD_CHECKS, locals())
        return to_arviz(self, coords or {}, conditional, num_inner, seed)

    def to_netcdf(self, path: Path | str, **options: Any) -> None:
        """Write :meth:`to_arviz`, with its options, to a NetCDF file, completely or not at all.

        Raises:
            InputError: the file cannot be written.
        """
        exported = self.to_arviz(**options)
        with atomic_write(Path(path)) as unfinished:
            exported.to_netcdf(str(unfinished))

    def _repr_html_(self) -> str:
        return html(self)
