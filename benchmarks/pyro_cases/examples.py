"""The programs in Pyro's folder `examples`, with small networks and drawn data."""

from argparse import Namespace
from collections.abc import Iterator
from functools import partial, wraps
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions.transforms import block_autoregressive, iterated
from pyro.infer import (
    Trace_ELBO,
    TraceGraph_ELBO,
    TraceMeanField_ELBO,
    config_enumerate,
)
from pyro.infer.autoguide import (
    AutoDelta,
    AutoDiagonalNormal,
    AutoLowRankMultivariateNormal,
    AutoNormal,
    AutoNormalizingFlow,
    init_to_median,
    init_to_value,
)
from pyro.infer.reparam import NeuTraReparam
from torch import Tensor, nn

from pyro_cases.case import Case, of
from pyro_cases.source import Source

ROWS = 16
NOT_TRIED = {
    "baseline.py, svi_horovod.py, svi_lightning.py": "the model is that of another file",
    "contrib/funsor/hmm.py": "another backend",
    "contrib/oed/gp_bayes_opt.py, contrib/timeseries/gp_models.py, einsum.py": "no sample sites",
    "minipyro.py": "model and guide are inside `main`",
    "rsa/, smcfilter.py": "no guide: enumerated by a search, filtered",
    "tutorial: bo, custom_objectives, effect_handlers, elections, normalizing_flows_intro, RSA": (
        "no model and guide, or those of another page"
    ),
}


@of("examples/vae/vae.py")
def vae(source: Source) -> Iterator[Case]:
    module = source.module("examples/vae/vae.py")
    grey = torch.rand(ROWS, 784)
    for name, x in (("VAE", grey.round()), ("VAE, grey", grey)):
        yield Case(name, module.VAE(z_dim=5, hidden_dim=20), (x,), rows=True)


@of("examples/vae/ss_vae_M2.py")
def ss_vae(source: Source) -> Iterator[Case]:
    x, y = torch.rand(ROWS, 784).round(), nn.functional.one_hot(torch.arange(ROWS) % 10).float()
    make = partial(source.module("examples/vae/ss_vae_M2.py").SSVAE, z_dim=5, hidden_layers=[20])
    for kind in ("parallel", "sequential"):
        story = make(config_enum=kind)
        pair = (story.model, config_enumerate(story.guide, kind, expand=True))
        yield Case(f"unlabelled, {kind}", pair, (x,), rows=True)
    yield Case("labelled", make(), (x, y), rows=True)
    story = make(aux_loss_multiplier=46)
    yield Case("classifier", (story.model_classify, story.guide_classify), (x, y), rows=True)


@of("examples/cvae/cvae.py")
def cvae(source: Source) -> Iterator[Case]:
    y = torch.rand(ROWS, 28, 28).round()
    x = y.clone()
    x[:, :14] = -1.0  # the half to be filled in
    baseline = nn.Sequential(nn.Flatten(), nn.Linear(784, 784), nn.Sigmoid()).requires_grad_(False)
    module = source.module("examples/cvae/cvae.py")
    yield Case("conditional VAE", module.CVAE(5, 20, 20, baseline), (x, y), rows=True)


@of("examples/air/air.py")
def air(source: Source) -> Iterator[Case]:
    make = partial(
        source.module("examples/air/air.py").AIR, num_steps=2, x_size=12, window_size=6,
        z_what_size=3, rnn_hidden_size=8, encoder_net=[8], decoder_net=[8], predict_net=[8],
        bl_predict_net=[8],
    )  # fmt: skip
    x = torch.rand(ROWS, 12, 12)
    for name, elbo in (("baselines", TraceGraph_ELBO), ("no baselines", Trace_ELBO)):
        story = make(use_baselines=elbo is TraceGraph_ELBO)
        if elbo is Trace_ELBO:
            for unused in (story.bl_rnn, story.bl_predict, story.bl_embed):
                unused.requires_grad_(False)
        pair = tuple(partial(part, batch_size=None) for part in (story.model, story.guide))
        yield Case(name, pair, (x,), rows=True, elbo=elbo)


@of("examples/dmm.py")
def dmm(source: Source) -> Iterator[Case]:
    module = source.module("examples/dmm.py")
    x = (torch.rand(ROWS, 6, 88) > 0.8).float()
    lengths = (torch.arange(ROWS) % 3 + 4).sort(descending=True).values
    batch = module.poly.get_mini_batch(torch.arange(ROWS), x, lengths)
    for name, iafs in (("no flow", 0), ("two flows", 2)):
        story = module.DMM(
            z_dim=5, emission_dim=8, transition_dim=8, rnn_dim=8, num_iafs=iafs, iaf_dim=8
        )
        yield Case(name, story, batch)


@of("examples/hmm.py")
def hmm(source: Source) -> Iterator[Case]:
    module = source.module("examples/hmm.py")
    args = Namespace(
        hidden_dim=4, jit=False, nn_dim=4, nn_channels=2, raftery_parameterization=False
    )
    x, lengths = (torch.rand(4, 5, 6) > 0.8).float(), torch.tensor([5, 4, 5, 3])

    def with_its_network(model: Any) -> Any:
        """The module makes one network at the first call: its start would be another in each copy."""
        network = module.TonesGenerator(args, x.shape[-1])

        @wraps(model)
        def story(*rows: Any, **kwargs: Any) -> Any:
            module.tones_generator = network
            return model(*rows, **kwargs)

        return story

    for name, model in module.models.items():
        model = with_its_network(model)
        exposed = partial(startswith, "probs_")
        guide = AutoDelta(poutine.block(model, expose_fn=exposed))
        yield Case(f"model_{name}", (model, guide), (x, lengths), {"args": args})
    model = module.model_1
    guide = AutoNormal(poutine.block(model, expose=["probs_x", "probs_y"]))
    yield Case("model_1, AutoNormal", (model, guide), (x, lengths), {"args": args})


def startswith(prefix: str, message: dict[str, Any]) -> bool:
    return str(message["name"]).startswith(prefix)


@of("examples/lda.py")
def lda(source: Source) -> Iterator[Case]:
    module = source.module("examples/lda.py")
    args = Namespace(num_topics=3, num_words=12, num_docs=5, num_words_per_doc=7, layer_sizes="8-8")
    words = torch.randint(args.num_words, (args.num_words_per_doc, args.num_docs))
    guide = partial(module.parametrized_guide, module.make_predictor(args))
    yield Case("LDA", (module.model, guide), (words,), {"args": args})


@of("examples/eight_schools/svi.py")
def eight_schools(source: Source) -> Iterator[Case]:
    module = source.module("examples/eight_schools/svi.py")
    yield Case(
        "eight schools", (module.model, module.guide), (module.data,), rows=True, ordered=True
    )


@of("examples/toy_mixture_model_discrete_enumeration.py")
def toy_mixture(source: Source) -> Iterator[Case]:
    module = source.module("examples/toy_mixture_model_discrete_enumeration.py")
    prior, _, data = module.generate_data(20)
    pair = (module.model, module.guide)
    yield Case("toy mixture", pair, (prior, data), {"num_obs": 20})


@of("examples/capture_recapture/cjs.py")
def cjs(source: Source) -> Iterator[Case]:
    module = source.module("examples/capture_recapture/cjs.py")
    history, sex = (torch.rand(12, 5) > 0.5).float(), (torch.rand(12) > 0.5).float()
    for name, model in module.models.items():
        guide = AutoDiagonalNormal(poutine.block(model, expose_fn=of_survival))
        yield Case(f"model_{name}", (model, guide), (history, sex))


def of_survival(message: dict[str, Any]) -> bool:
    return message["name"][:3] in ("phi", "rho")


@of("examples/baseball.py")
def baseball(source: Source) -> Iterator[Case]:
    module = source.module("examples/baseball.py")
    at_bats = torch.full((18,), 45.0)
    hits = torch.distributions.Binomial(45, torch.full((18,), 0.27)).sample()
    for name in ("fully_pooled", "not_pooled", "partially_pooled", "partially_pooled_with_logit"):
        model = getattr(module, name)
        pair = (model, AutoNormal(model))
        yield Case(name, pair, (at_bats, hits), rows=True, ordered=name != "fully_pooled")


@of("examples/mixed_hmm/model.py")
def mixed_hmm(source: Source) -> Iterator[Case]:
    module = source.module("examples/mixed_hmm/model.py")
    shape, missing = (3, 2, 4), 1e-6  # individual, group, time
    for group, individual in (("none", "none"), ("discrete", "discrete"), ("continuous",) * 2):
        config = {
            "MISSING": missing,
            "sizes": dict(zip(("individual", "group", "timesteps"), shape, strict=True))
            | {"state": 3, "random": 2},
            "group": {"random": group, "fixed": None},
            "individual": {"random": individual, "fixed": None, "mask": torch.ones(3, 2).bool()},
            "timestep": {"random": None, "fixed": None, "mask": torch.ones(shape).bool()},
            "observations": {
                "step": torch.rand(shape) + 0.1,
                "angle": torch.rand(shape),
                "omega": torch.rand(shape).clamp(0.05, 0.95),
            },
        }
        pair = (module.model_generic, module.guide_generic)
        yield Case(f"effects {group}, {individual}", pair, (config,))


@of("examples/scanvi/scanvi.py")
def scanvi(source: Source) -> Iterator[Case]:
    module = source.module("examples/scanvi/scanvi.py")
    make = partial(module.SCANVI, num_genes=12, num_labels=3, l_loc=2.0, l_scale=0.5, latent_dim=3)
    x = torch.poisson(torch.full((ROWS, 12), 4.0))
    y = nn.functional.one_hot(torch.arange(ROWS) % 3).float()
    story = make()
    guide = config_enumerate(story.guide, "parallel", expand=True)
    yield Case("unlabelled", (story.model, guide), (x,), rows=True)
    story = make()
    yield Case("labelled", (story.model, story.guide), (x, y), rows=True)
    story = make(scale_factor=1 / (12 * ROWS))
    yield Case("labelled, scaled", (story.model, story.guide), (x, y), rows=True)


@of("examples/sir_hmc.py")
def sir_hmc(source: Source) -> Iterator[Case]:
    module = source.module("examples/sir_hmc.py")
    args = module.args = Namespace(population=6, recovery_time=3.0)
    data = torch.tensor([0.0, 1.0, 1.0, 0.0])
    model = module.reparameterized_discrete_model
    exposed = AutoNormal(poutine.block(model, expose=["R0", "rho"]))
    yield Case("reparameterized_discrete", (model, exposed), (args, list(data)))
    start = init_to_value(values=module.heuristic_init(args, data.clone()))
    for name in ("continuous_model", "vectorized_model"):
        model = getattr(module, name)
        guide = AutoNormal(
            poutine.block(model, expose=["R0", "rho", "S_aux", "I_aux"]), init_loc_fn=start
        )
        yield Case(name, (model, guide), (args, data))


@of("examples/contrib/epidemiology/sir.py")
def epidemiology(source: Source) -> Iterator[Case]:
    from pyro.contrib.epidemiology import models

    data = torch.tensor([1.0, 2.0, 3.0, 2.0, 1.0])
    for kind in (models.SimpleSIRModel, models.OverdispersedSIRModel):
        pyro.set_rng_seed(0)
        story = kind(20, 3.0, data)
        story.relaxed, story.num_quant_bins = True, 1
        start = story._heuristic(None, num_particles=64, ess_threshold=0.5, retries=10)
        guide = AutoLowRankMultivariateNormal(story._relaxed_model, init_loc_fn=start)
        yield Case(f"{kind.__name__}, relaxed", (story._relaxed_model, guide))


@of("examples/contrib/cevae/synthetic.py")
def cevae(source: Source) -> Iterator[Case]:
    from pyro.contrib.cevae import CEVAE, TraceCausalEffect_ELBO

    story = CEVAE(feature_dim=3, latent_dim=4, hidden_dim=8, num_layers=2, num_samples=3)
    args = Namespace(num_data=ROWS, feature_dim=3)
    data = source.module("examples/contrib/cevae/synthetic.py").generate_data(args)[:3]
    yield Case("CEVAE", story, data, rows=True, elbo=TraceCausalEffect_ELBO)


@of("examples/contrib/forecast/bart.py")
def bart(source: Source) -> Iterator[Case]:
    model = source.module("examples/contrib/forecast/bart.py").Model()
    yield forecast("arrivals and departures", model, torch.randn(24 * 7 + 5, 2), 0)


def forecast(name: str, model: Any, data: Tensor, covariates: int) -> Case:
    """A forecasting model of a series, ``... x time x dimension``, under the guide that Pyro takes."""
    guide = AutoNormal(model, init_loc_fn=init_to_median(num_samples=5))
    return Case(name, (model, guide), (data, torch.randn(data.shape[-2], covariates)))


@of("examples/contrib/gp/sv-dkl.py")
def sv_dkl(source: Source) -> Iterator[Case]:
    from pyro.contrib import gp

    cnn = source.module("examples/contrib/gp/sv-dkl.py").CNN()
    images, labels = torch.rand(ROWS, 1, 28, 28), torch.arange(ROWS) % 2
    rbf = gp.kernels.RBF(input_dim=10, lengthscale=torch.ones(10))
    story = gp.models.VariationalSparseGP(
        X=images, y=labels.float(), kernel=gp.kernels.Warping(rbf, iwarping_fn=cnn),
        Xu=images[:6].clone(), likelihood=gp.likelihoods.Binary(), latent_shape=torch.Size([]),
        num_data=ROWS, whiten=True, jitter=2e-4,
    )  # fmt: skip
    yield Case("deep kernel", story)


@of("examples/contrib/autoname/mixture.py")
def autoname(source: Source) -> Iterator[Case]:
    module = source.module("examples/contrib/autoname/mixture.py")
    data = torch.tensor([0.0, 1.0, 2.0, 20.0, 30.0, 40.0])
    yield Case("mixture", (module.model, module.guide), (data,), {"k": 2})


@of("examples/contrib/autoname/scoping_mixture.py")
def scoping(source: Source) -> Iterator[Case]:
    module = source.module("examples/contrib/autoname/scoping_mixture.py")
    data = torch.tensor([0.0, 1.0, 2.0, 20.0, 30.0, 40.0])
    yield Case("scoping mixture", (module.model, config_enumerate(module.guide)), (2, data))


@of("examples/contrib/autoname/tree_data.py")
def tree_data(source: Source) -> Iterator[Case]:
    module, one = source.module("examples/contrib/autoname/tree_data.py"), torch.tensor(1.0)
    data = {"foo": one, "bar": [0 * one, one], "baz": {"noun": {"concrete": 4 * one}, "verb": one}}
    yield Case("tree", (module.model, module.guide), (data,))


@of("examples/contrib/mue/ProfileHMM.py")
def mue(source: Source) -> Iterator[Case]:
    from pyro.contrib.mue.dataloaders import BiosequenceDataset
    from pyro.contrib.mue.models import FactorMuE, ProfileHMM

    data = BiosequenceDataset(["BABBA", "BAAB", "BABBB"], "list", "AB", include_stop=False)
    batch = data[torch.arange(3)][0].float()
    story = ProfileHMM(5, data.alphabet_length)
    yield Case("ProfileHMM", story, (batch, torch.tensor(1.0)))
    story = FactorMuE(data.max_length, data.alphabet_length, 2, batch_size=3)
    yield Case("FactorMuE", story, (batch, torch.tensor(1.0), torch.tensor(1.0)))


@of("examples/contrib/oed/ab_test.py")
def ab_test(source: Source) -> Iterator[Case]:
    module = source.module("examples/contrib/oed/ab_test.py")
    design = module.group_assignment_matrix(torch.tensor([6, 4]))
    model = poutine.condition(module.model, {"y": torch.randn(10)})
    yield Case("A/B test", (model, module.guide), (design,))


@of("examples/sparse_gamma_def.py")
def sparse_gamma(source: Source) -> Iterator[Case]:
    module = source.module("examples/sparse_gamma_def.py")
    for kind in ("custom", "auto", "easy"):
        story = module.SparseGammaDEF()
        story.top_width, story.mid_width, story.bottom_width, story.image_size = 5, 4, 3, 16
        x = torch.poisson(torch.full((8, 16), 3.0))
        guides = {
            "custom": lambda story=story: story.guide,
            "auto": lambda story=story: AutoDiagonalNormal(
                story.model, init_loc_fn=module.init_to_feasible
            ),
            "easy": lambda story=story: module.MyEasyGuide(story.model),
        }
        pair = (story.model, guides[kind]())
        yield Case(kind, pair, (x,), rows=True, ordered=True, elbo=TraceMeanField_ELBO)


@of("examples/sparse_regression.py")
def sparse_regression(source: Source) -> Iterator[Case]:
    module = source.module("examples/sparse_regression.py")
    hypers = dict.fromkeys(("alpha1", "alpha2"), 3.0) | dict.fromkeys(
        ("expected_sparsity", "beta1", "beta2", "alpha3", "c"), 1.0
    )
    x, y, *_ = module.get_data(N=20, P=10, S=3, Q=2)
    for name, guide in (("AutoDelta", AutoDelta), ("AutoNormal", AutoNormal)):
        pair = (module.model, guide(module.model, init_loc_fn=module.init_loc_fn))
        yield Case(name, pair, (x, y, hypers))


@of("examples/neutra.py")
def neutra(source: Source) -> Iterator[Case]:
    module = source.module("examples/neutra.py")
    flow = AutoNormalizingFlow(module.model, partial(iterated, 2, block_autoregressive))
    args = (torch.tensor(1.15), torch.tensor(1.0))
    yield Case("AutoDiagonalNormal", (module.model, AutoDiagonalNormal(module.model)), args)
    yield Case("block autoregressive flow", (module.model, flow), args)
    straightened = NeuTraReparam(flow.requires_grad_(False)).reparam(module.model)
    yield Case("NeuTraReparam", (straightened, AutoNormal(straightened)), args)


@of("examples/lkj.py")
def lkj(source: Source) -> Iterator[Case]:
    model = source.module("examples/lkj.py").model
    yield Case("LKJ", (model, AutoNormal(model)), (torch.randn(20, 3),), rows=True)


@of("examples/inclined_plane.py")
def inclined_plane(source: Source) -> Iterator[Case]:
    module = source.module("examples/inclined_plane.py")

    def guide(_: Tensor) -> None:
        pyro.sample("mu", pyro.distributions.Uniform(0.0, 1.0))

    yield Case("simulator", (module.model, guide), (module.observed_data[:1],))


@of("examples/svi_torch.py")
def svi_torch(source: Source) -> Iterator[Case]:
    module = source.module("examples/svi_torch.py")
    x, y = torch.randn(ROWS), torch.randn(ROWS)
    for name, size in (("regression", ROWS), ("half of a plate", 2 * ROWS)):
        model = module.Model(size)
        yield Case(name, (model, AutoNormal(model)), (x, y), rows=True)


@of("examples/vae/vae_comparison.py")
def vae_comparison(source: Source) -> Iterator[Case]:
    story = source.module("examples/vae/vae_comparison.py").PyroVAEImpl(
        Namespace(jit=False), None, None
    )
    pair = (story.model, story.guide)
    yield Case("PyroVAEImpl", pair, (torch.rand(ROWS, 1, 28, 28).round(),), rows=True)
