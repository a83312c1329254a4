"""The programs of Pyro's tutorials, read from their notebooks, with drawn data."""

from argparse import Namespace
from collections.abc import Iterator
from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import TraceGraph_ELBO, config_enumerate
from pyro.infer.autoguide import (
    AutoDelta,
    AutoDiagonalNormal,
    AutoMultivariateNormal,
    AutoNormal,
)
from pyro.infer.reparam import DiscreteCosineReparam, StableReparam
from torch import nn

from pyro_cases.case import Case, of
from pyro_cases.examples import ROWS, forecast
from pyro_cases.source import Source

HERE = "tutorial/source/"


def nothing(*_: Any, **__: Any) -> None:
    """The guide of a model without latents, or whose latents are all summed out."""


def regression() -> tuple[torch.Tensor, ...]:
    """Shaped as the rugged terrain's data: on the continent or not, ruggedness, log GDP."""
    return (torch.rand(ROWS) > 0.5).float(), torch.rand(ROWS) * 6, torch.randn(ROWS) + 8


@of(HERE + "intro_long.ipynb")
def intro_long(source: Source) -> Iterator[Case]:
    space, data = source.notebook(HERE + "intro_long.ipynb"), regression()
    yield Case("simple_model", (space.simple_model, nothing), data, rows=True)
    yield Case("custom_guide", (space.model, space.custom_guide), data, rows=True)
    yield Case("AutoNormal", (space.model, AutoNormal(space.model)), data, rows=True)
    yield Case("AutoMVN", (space.model, AutoMultivariateNormal(space.model)), data, rows=True)


@of(HERE + "intro_part_ii.ipynb")
def intro_part_ii(source: Source) -> Iterator[Case]:
    space = source.notebook(HERE + "intro_part_ii.ipynb")
    model = pyro.condition(space.scale, data={"measurement": torch.tensor(9.5)})
    for name in (
        "perfect_guide",
        "scale_parametrized_guide",
        "scale_parametrized_guide_constrained",
    ):
        yield Case(name, (model, getattr(space, name)), (8.5,))
    yield Case("scale_obs", (space.scale_obs, space.scale_parametrized_guide), (8.5,))


@of(HERE + "bayesian_regression.ipynb")
def bayesian_regression(source: Source) -> Iterator[Case]:
    model = source.notebook(HERE + "bayesian_regression.ipynb").BayesianRegression(3, 1)
    data = (torch.randn(ROWS, 3), torch.randn(ROWS))
    yield Case("AutoDiagonalNormal", (model, AutoDiagonalNormal(model)), data, rows=True)


@of(HERE + "bayesian_regression_ii.ipynb")
def bayesian_regression_ii(source: Source) -> Iterator[Case]:
    space, data = source.notebook(HERE + "bayesian_regression_ii.ipynb"), regression()
    yield Case("own guide", (space.model, space.guide), data, rows=True)
    yield Case("AutoMVN", (space.model, AutoMultivariateNormal(space.model)), data, rows=True)


@of(HERE + "svi_part_i.ipynb")
def svi_part_i(source: Source) -> Iterator[Case]:
    space = source.notebook(HERE + "svi_part_i.ipynb")
    coins = [torch.tensor(1.0)] * 6 + [torch.tensor(0.0)] * 4
    yield Case("coin, a list", (space.model, space.guide), (coins,))


@of(HERE + "svi_part_iii.ipynb")
def svi_part_iii(source: Source) -> Iterator[Case]:
    story = source.notebook(HERE + "svi_part_iii.ipynb").BernoulliBetaExample(1)
    for decaying in (True, False):
        name = f"baseline {decaying}"
        yield Case(name, (story.model, story.guide), (decaying,), elbo=TraceGraph_ELBO)


@of(HERE + "gmm.ipynb")
def gmm(source: Source) -> Iterator[Case]:
    data = torch.tensor([0.0, 1.0, 10.0, 11.0, 12.0])
    space = source.notebook(HERE + "gmm.ipynb", "K", data=data)
    exposed = poutine.block(space.model, expose=["weights", "locs", "scale"])
    guide = space.global_guide = AutoDelta(exposed, init_loc_fn=space.init_loc_fn)
    yield Case("MAP", (space.model, guide), (data,), rows=True)
    yield Case("AutoNormal", (space.model, AutoNormal(exposed)), (data,), rows=True)
    yield Case("full_guide", (space.model, space.full_guide), (data,), rows=True, ordered=True)


@of(HERE + "dirichlet_process_mixture.ipynb")
def dirichlet_process(source: Source) -> Iterator[Case]:
    given = {"T": 4, "N": ROWS, "alpha": 0.5}
    space = source.notebook(HERE + "dirichlet_process_mixture.ipynb", upto=11, **given)
    pair, data = (space.model, space.guide), torch.randn(ROWS, 2)
    yield Case("Gaussians", pair, (data,), rows=True, ordered=True)
    space = source.notebook(HERE + "dirichlet_process_mixture.ipynb", **given)
    counts = torch.poisson(torch.full((ROWS,), 30.0))
    yield Case("Poissons", (space.model, space.guide), (counts,), rows=True, ordered=True)


@of(HERE + "enumeration.ipynb")
def enumeration(source: Source) -> Iterator[Case]:
    for cell, name in ((10, "chain"), (15, "plate")):
        space = source.notebook(HERE + "enumeration.ipynb", upto=cell)
        yield Case(f"{name}, no data", (space.model, nothing))
    space = source.notebook(HERE + "enumeration.ipynb", upto=17)
    yield Case("Vindex", (space.model, space.guide))
    model = source.notebook(HERE + "enumeration.ipynb", upto=19).model
    guide = AutoNormal(poutine.block(model, hide=["x", "data"]))
    yield Case("mixture", (model, guide), (torch.randn(10),), rows=True)
    model = source.notebook(HERE + "enumeration.ipynb", upto=27).hmm_model
    guide = AutoNormal(poutine.block(model, expose=["transition", "emission"]))
    data = torch.randint(4, (6,))
    yield Case("hmm_model", (model, guide), (data,), {"data_dim": 4, "hidden_dim": 3})


@of(HERE + "csis.ipynb")
def csis(source: Source) -> Iterator[Case]:
    space = source.notebook(HERE + "csis.ipynb")
    observations = {"x1": torch.tensor(8.0), "x2": torch.tensor(9.0)}
    pair = (space.model, space.Guide())
    yield Case("compiled", pair, (torch.tensor(1.0),), {"observations": observations})


@of(HERE + "easyguide.ipynb")
def easyguide(source: Source) -> Iterator[Case]:
    batch, kwargs = torch.rand(4, ROWS).round(), {"full_size": 2 * ROWS}
    for cell, name in ((8, "by hand"), (13, "easy_guide"), (17, "amortised")):
        space = source.notebook(HERE + "easyguide.ipynb", "rank", upto=cell)
        subsample = torch.arange(ROWS)
        yield Case(name, (space.model, space.guide), (batch, subsample), kwargs)


@of(HERE + "boosting_bbvi.ipynb")
def boosting(source: Source) -> Iterator[Case]:
    space = source.notebook(HERE + "boosting_bbvi.ipynb", upto=13)
    data = 4 + 0.1 * torch.randn(20, 1)
    yield Case("one component", (space.model, partial(space.guide, index=0)), (data,))


@of(HERE + "ekf.ipynb")
def ekf(source: Source) -> Iterator[Case]:
    from pyro.contrib.tracking.dynamic_models import NcvContinuous

    truth = torch.zeros(10, 4)
    truth[:, 0] = 0.01 * torch.arange(10)
    ncv = NcvContinuous(4, 2.0).requires_grad_(False)
    given = {"i": 0, "xs_truth": truth, "ncv": ncv, "num_frames": 10}
    model = source.notebook(HERE + "ekf.ipynb", **given).model
    data = truth[:, :2] + 0.003 * torch.randn(10, 2)
    yield Case("MAP", (model, AutoDelta(model)), (data,))


@of(HERE + "epi_intro.ipynb")
def epi_intro(source: Source) -> Iterator[Case]:
    space = source.notebook(HERE + "epi_intro.ipynb")
    data = torch.tensor([1.0, 2.0, 3.0, 2.0, 1.0])
    story = space.SimpleSIRModel(20, 3.0, data)
    story.relaxed, story.num_quant_bins = True, 1
    start = story._heuristic(None, num_particles=64, ess_threshold=0.5, retries=10)
    model = story._relaxed_model
    yield Case("SimpleSIRModel, relaxed", (model, AutoNormal(model, init_loc_fn=start)))
    population, coupling = torch.tensor([20.0, 30.0]), torch.eye(2).clamp(min=0.1)
    story = space.RegionalSIRModel(population, coupling, 3.0, torch.stack([data, data], -1))
    story.relaxed, story.num_quant_bins = True, 1
    start = story._heuristic(None, num_particles=64, ess_threshold=0.5, retries=10)
    model = story._relaxed_model
    yield Case("RegionalSIRModel, relaxed", (model, AutoNormal(model, init_loc_fn=start)))


@of(HERE + "forecasting_i.ipynb")
def forecasting_i(source: Source) -> Iterator[Case]:
    space = source.notebook(HERE + "forecasting_i.ipynb")
    for name in ("Model1", "Model2", "Model3"):
        yield forecast(name, getattr(space, name)(), torch.randn(20, 1), 3)


@of(HERE + "forecasting_ii.ipynb")
def forecasting_ii(source: Source) -> Iterator[Case]:
    space = source.notebook(HERE + "forecasting_ii.ipynb", means=torch.zeros(24 * 7))
    for name in ("Model1", "Model2", "Model3"):
        yield forecast(name, getattr(space, name)(), torch.randn(24 * 7 + 3, 1), 0)


@of(HERE + "forecasting_iii.ipynb")
def forecasting_iii(source: Source) -> Iterator[Case]:
    space = source.notebook(HERE + "forecasting_iii.ipynb")
    yield forecast("Model1", space.Model1(), torch.randn(24 * 7 + 3, 2), 0)
    yield forecast("Model2", space.Model2(), torch.randn(2, 2, 24 * 7 + 3, 1), 0)


@of(HERE + "forecasting_dlm.ipynb")
def forecasting_dlm(source: Source) -> Iterator[Case]:
    given = {"time_points": [5, 10], "priors": [torch.zeros(2), torch.ones(2)]}
    space = source.notebook(HERE + "forecasting_dlm.ipynb", **given)
    for name in ("DLM", "DLM2"):
        yield forecast(name, getattr(space, name)(), torch.randn(20, 1), 3)


@of(HERE + "gp.ipynb")
def gp(source: Source) -> Iterator[Case]:
    from pyro.contrib.gp import kernels, likelihoods, models

    x = torch.linspace(0, 5, ROWS)
    y = (2 * x).sin() + 0.2 * torch.randn(ROWS)
    yield Case("GPRegression", models.GPRegression(x, y, kernels.RBF(1), noise=torch.tensor(0.2)))
    story = models.GPRegression(x, y, kernels.RBF(1), noise=torch.tensor(0.2))
    story.kernel.lengthscale = pyro.nn.PyroSample(dist.LogNormal(0.0, 1.0))
    story.kernel.variance = pyro.nn.PyroSample(dist.LogNormal(0.0, 1.0))
    story.kernel.autoguide("lengthscale", dist.Normal)
    story.kernel.autoguide("variance", dist.Normal)
    yield Case("GPRegression, priors", story)
    for approx in ("VFE", "FITC"):
        sparse = models.SparseGPRegression(x, y, kernels.RBF(1), x[::4].clone(), approx=approx)
        yield Case(f"SparseGPRegression, {approx}", sparse)
    likely = likelihoods.Gaussian
    yield Case("VariationalGP", models.VariationalGP(x, y, kernels.RBF(1), likely(), jitter=1e-4))
    for whiten in (True, False):
        sparse = models.VariationalSparseGP(
            x, y, kernels.RBF(1), x[::4].clone(), likely(), whiten=whiten
        )
        yield Case(f"VariationalSparseGP, whiten={whiten}", sparse)


@of(HERE + "gplvm.ipynb")
def gplvm(source: Source) -> Iterator[Case]:
    from pyro.contrib.gp import kernels, models

    y, mean = torch.randn(3, 10), torch.zeros(10, 2)
    x = nn.Parameter(mean.clone())
    kernel = kernels.RBF(2, lengthscale=torch.ones(2))
    story = models.SparseGPRegression(x, y, kernel, torch.randn(4, 2), noise=torch.tensor(0.1))
    story.X = pyro.nn.PyroSample(dist.Normal(mean, 0.1).to_event())
    story.autoguide("X", dist.Normal)
    yield Case("GPLVM", story)


@of(HERE + "logistic-growth.ipynb")
def logistic_growth(source: Source) -> Iterator[Case]:
    dataset = {"time_step_days": 28}
    space = source.notebook(HERE + "logistic-growth.ipynb", dataset=dataset)
    counts = torch.poisson(torch.full((5, 3, 4), 6.0))  # time, region, lineage
    yield Case("basic_model", (space.basic_model, AutoNormal(space.basic_model)), (counts.sum(1),))
    for name in ("regional_model", "regional_model2"):
        model = getattr(space, name)
        yield Case(name, (model, AutoNormal(model)), (counts,))


@of(HERE + "workflow.ipynb")
def workflow(source: Source) -> Iterator[Case]:
    counts = torch.poisson(torch.full((5, 3, 4), 6.0))
    data = {"features": torch.rand(4, 2).round(), "counts": counts, "time_step_days": 14}
    space = source.notebook(HERE + "workflow.ipynb", upto=8, dataset=data)
    yield Case("dense", (space.model, AutoNormal(space.model)), (data,))
    index = counts.nonzero(as_tuple=True)
    data["sparse_counts"] = {
        "index": index, "value": counts[index], "total": counts.sum(-1)
    }  # fmt: skip
    space = source.notebook(HERE + "workflow.ipynb", upto=24, dataset=data)
    guide = AutoNormal(space.model, init_loc_fn=space.init_loc_fn, init_scale=0.01)
    yield Case("sparse, a factor", (space.model, guide), (data,))


@of(HERE + "mle_map.ipynb")
def mle_map(source: Source) -> Iterator[Case]:
    space, data = source.notebook(HERE + "mle_map.ipynb"), torch.zeros(10)
    data[:6] = 1.0
    yield Case("MLE", (space.model_mle, space.guide_mle), (data,), rows=True)
    yield Case("MAP", (space.original_model, space.guide_map), (data,), rows=True)
    for name in ("original_model", "masked_model", "original_model_uniform_prior"):
        model = getattr(space, name)
        yield Case(f"{name}, AutoNormal", (model, AutoNormal(model)), (data,), rows=True)


@of(HERE + "model_rendering.ipynb")
def model_rendering(source: Source) -> Iterator[Case]:
    data = torch.ones(10)
    for cell in (3, 13):
        model = source.notebook(HERE + "model_rendering.ipynb", upto=cell).model
        yield Case(f"cell {cell}", (model, AutoNormal(model)), (data,), rows=True)
    space = source.notebook(HERE + "model_rendering.ipynb", upto=19)
    yield Case("overlapping plates", (space.model, AutoNormal(space.model)))
    positions, annotations = torch.tensor([0, 0, 1, 2]), torch.randint(3, (6, 4))
    model = config_enumerate(space.mace)
    guide = AutoNormal(poutine.block(model, expose=["ε", "θ"]))
    yield Case("MACE", (model, guide), (positions, annotations))
    space = source.notebook(HERE + "model_rendering.ipynb")
    partly = (space.model, AutoNormal(space.model))
    yield Case("partly observed", partly, (torch.ones(2),), rows=True, ordered=True)
    model = space.model_deterministic
    yield Case("deterministic", (model, AutoNormal(model)), (data,), rows=True, ordered=True)


@of(HERE + "modules.ipynb")
def modules(source: Source) -> Iterator[Case]:
    space, data = source.notebook(HERE + "modules.ipynb", upto=26), torch.randn(10)
    for name in ("GlobalModel", "LocalModel"):
        model, local = getattr(space, name)(), name == "LocalModel"
        yield Case(name, (model, AutoNormal(model)), (data,), rows=True, ordered=local)
    model = space.Model(3, 2)
    pair, data = (model, AutoNormal(model)), (torch.randn(10, 3), torch.randn(10, 2))
    yield Case("Model", pair, data, rows=True)


@of(HERE + "predictive_deterministic.ipynb")
def predictive(source: Source) -> Iterator[Case]:
    space = source.notebook(HERE + "predictive_deterministic.ipynb")
    data = (torch.randn(ROWS, 2), torch.poisson(torch.full((ROWS,), 2.0)))
    yield Case("own guide", (space.model, space.guide), data, rows=True)
    yield Case("AutoNormal", (space.model, AutoNormal(space.model)), data, rows=True)


@of(HERE + "prior_predictive.ipynb")
def prior_predictive(source: Source) -> Iterator[Case]:
    model = source.notebook(HERE + "prior_predictive.ipynb").model
    data = torch.randn(8).cumsum(0)
    yield Case("random walk", (model, AutoNormal(model)), kwargs={"T": 8, "data": data})


@of(HERE + "prodlda.ipynb")
def prodlda(source: Source) -> Iterator[Case]:
    story = source.notebook(HERE + "prodlda.ipynb").ProdLDA(12, 3, 8, 0.2)
    docs = torch.poisson(torch.full((ROWS, 12), 2.0))
    yield Case("ProdLDA", story, (docs,), rows=True)


@of(HERE + "stable.ipynb")
def stable(source: Source) -> Iterator[Case]:
    returns = 0.1 * torch.randn(10)
    model = source.notebook(HERE + "stable.ipynb", upto=9, r=returns).model
    reparam = poutine.reparam(model, {"r": StableReparam()})
    yield Case("iid", (reparam, AutoNormal(reparam)))
    model = source.notebook(HERE + "stable.ipynb", upto=14).model
    config = {"v": DiscreteCosineReparam(), "r": StableReparam()}
    reparam = poutine.reparam(model, config)
    yield Case("volatility", (reparam, AutoNormal(reparam)), (returns,))


@of(HERE + "svi_flow_guide.ipynb")
def flow_guide(source: Source) -> Iterator[Case]:
    import zuko

    flow = zuko.flows.NSF(features=3, context=10, transforms=1, hidden_features=(8, 8))
    flow.transform = flow.transform.inv
    space = source.notebook(HERE + "svi_flow_guide.ipynb", "prior", flow=flow)
    data = space.likelihood(space.prior.sample((ROWS,))).sample((5,))
    yield Case("neural spline flow", (space.model, space.guide), (data,))


@of(HERE + "vae_flow_prior.ipynb")
def flow_prior(source: Source) -> Iterator[Case]:
    story = source.notebook(HERE + "vae_flow_prior.ipynb").VAE(20, 3)
    yield Case("flow prior", story, (torch.rand(ROWS, 20).round(),), rows=True)


@of(HERE + "tracking_1d.ipynb")
def tracking(source: Source) -> Iterator[Case]:
    space = source.notebook(HERE + "tracking_1d.ipynb")
    args = Namespace(
        num_frames=5, max_num_objects=3, expected_num_objects=2.0, expected_num_spurious=1.0,
        emission_prob=0.8, emission_noise_scale=0.1,
    )  # fmt: skip
    _, _, observations = space.generate_data(args)
    yield Case("assignment", (space.model, space.guide), (args, observations), max_plate_nesting=2)


@of(HERE + "working_memory.ipynb")
def working_memory(source: Source) -> Iterator[Case]:
    names = ("sensitivity", "prior_mean", "prior_sd")
    space = source.notebook(HERE + "working_memory.ipynb", *names, upto=6)
    lengths = torch.tensor([5.0, 7.0, 9.0])
    model = poutine.condition(space.model, {"y": torch.tensor([1.0, 1.0, 0.0])})
    yield Case("three rounds", (model, space.guide), (lengths,))
    names = (*names, "time_intercept", "time_scale")
    space = source.notebook(HERE + "working_memory.ipynb", *names)
    seen = {"correct": torch.tensor(1.0), "time": torch.tensor(0.7)}
    model = poutine.condition(space.model, seen)
    yield Case("response time", (model, space.guide), (torch.tensor(5.0),))


@of(HERE + "jit.ipynb")
def jit(source: Source) -> Iterator[Case]:
    model = source.notebook(HERE + "jit.ipynb", upto=3).model
    yield Case("Normal", (model, AutoDiagonalNormal(model)), (torch.randn(20),), rows=True)
    model = source.notebook(HERE + "jit.ipynb").model
    exposed = poutine.block(model, expose=["trans", "emit_scale", "emit_loc"])
    args = {"num_sequences": 1, "length": 5, "state_dim": 3}
    yield Case("Gaussian HMM", (model, AutoDiagonalNormal(exposed)), (torch.randn(5),), args)


@of(HERE + "vae.ipynb")
def vae(source: Source) -> Iterator[Case]:
    story = source.notebook(HERE + "vae.ipynb").VAE(z_dim=5, hidden_dim=20)
    yield Case("VAE", story, (torch.rand(ROWS, 784).round(),), rows=True)
