"""The programs in Pyro's folder `examples`, with small networks and drawn data."""

from argparse import Namespace
from collections.abc import Iterator
from functools import partial
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer import (
    Trace_ELBO,
    TraceEnum_ELBO,
    TraceGraph_ELBO,
    TraceMeanField_ELBO,
    config_enumerate,
)
from pyro.infer.autoguide import AutoDelta, AutoDiagonalNormal, AutoNormal
from torch import Tensor, nn

from pyro_cases.case import Case, of
from pyro_cases.source import Source

ROWS = 16


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
    for name, model in module.models.items():
        module.tones_generator = None
        exposed = partial(startswith, "probs_")
        guide = AutoDelta(poutine.block(model, expose_fn=exposed))
        yield Case(f"model_{name}", (model, guide), (x, lengths), {"args": args})


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
