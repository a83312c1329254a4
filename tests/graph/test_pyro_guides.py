"""Pyro's own guides, and programs that handlers wrap."""

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from diagrams import X, Y, boxes, edges, kinds, normal
from pyro import poutine
from pyro.contrib.easyguide import easy_guide
from pyro.infer import autoguide
from torch import Tensor, nn

from pyro_vae.graph import render_model


def local(x: Tensor) -> None:
    mean = normal("mean", 0.0)
    with pyro.plate("data", len(x)):
        z = normal("z", mean)
        twice = pyro.deterministic("twice", 2 * z)
        normal("x", twice, obs=x)


@easy_guide(local)
def easy(self: Any, x: Tensor) -> None:
    with self.plate("data", len(x)):
        loc = pyro.param("loc", lambda: torch.zeros(len(x)), event_dim=0)
        self.group(match="z").sample("zs", dist.Normal(loc[..., None], 1.0).to_event(1))
    self.map_estimate("mean")


MESSENGERS = {
    "AutoNormalMessenger": set(),
    "AutoHierarchicalNormalMessenger": {("mean", "z")},
    "AutoRegressiveMessenger": {("mean", "z")},
}


@pytest.mark.parametrize("name", MESSENGERS)
@pytest.mark.parametrize("is_set_up", [False, True])
def test_a_messenger_guide_is_what_it_draws(name: str, is_set_up: bool) -> None:
    """It runs the model, but the model's data and deterministic sites are not the guide's."""
    guide = getattr(autoguide, name)(local)
    if is_set_up:
        guide(Y)
        drawn = set(guide.get_traces()[1].nodes)
        assert {"mean", "z"} == drawn
    graph = render_model(local, (Y,), guide=guide)
    assert graph.guide is not None
    assert graph.warnings == ()
    draws = {n for n, kind in kinds(graph.guide).items() if kind != "parameters"}
    assert draws == {"mean", "z"}
    assert {e for e in edges(graph.guide) if e[0] in draws} == MESSENGERS[name]


def test_a_flow_is_one_box_before_its_guide_is_set_up_and_after() -> None:
    guide = autoguide.AutoIAFNormal(local)
    before = render_model(local, (Y,), guide=guide).guide
    guide(Y)
    after = render_model(local, (Y,), guide=guide).guide
    assert before is not None
    assert after is not None
    assert boxes(before).keys() == boxes(after).keys() == {"transform"}


@pytest.mark.parametrize("rows", [5, 3])
def test_an_easy_guide_keeps_its_plates(rows: int) -> None:
    easy(Y)
    plates = dict(easy.plates)
    assert render_model(local, (torch.zeros(rows),)).warnings == ()
    graph = render_model(local, (Y,), guide=easy)
    assert graph.guide is not None
    assert edges(graph.guide) == {("loc", "z"), ("mean (parameters)", "mean")}
    assert easy.plates == plates
    easy(Y)


def test_no_guide_and_a_guide_of_none() -> None:
    class Modelled:
        guide = None

        def model(self, x: Tensor) -> None:
            local(x)

    class ModelAlone(nn.Module):
        def model(self, x: Tensor) -> None:
            local(x)

    whole = render_model(local, (Y,)).to_dict()
    assert whole["guide"] is None
    for program in ((local, None), Modelled(), ModelAlone()):
        assert render_model(program, (Y,)).to_dict() == whole
    assert render_model(local, (Y,), guide=None).to_dict() == whole


class Vae(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.decoder, self.scale = nn.Linear(2, 2), nn.Parameter(torch.ones(()))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data"):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x), 2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), self.scale).to_event(1), obs=x)


def test_a_handled_model_has_the_networks_of_its_object() -> None:
    vae = Vae()
    expected = {"decoder": 6, "scale": 1}
    assert boxes(render_model(vae.model, (X,)).model) == expected
    assert boxes(render_model(poutine.scale(vae.model, scale=2.0), (X,)).model) == expected
    conditioned = pyro.condition(poutine.block(vae.model, hide=["none"]), {"z": torch.zeros(5, 2)})
    assert boxes(render_model(conditioned, (X,)).model) == expected
    called = render_model(lambda x: vae.model(x), (X,)).model
    assert boxes(called) == {"vae.decoder": 6, "vae.scale": 1}


@pytest.mark.parametrize("hidden", [{"hide": ["w"]}, {"hide_types": ["param"]}])
def test_a_parameter_behind_block_is_drawn(hidden: dict[str, list[str]]) -> None:
    def model() -> None:
        with poutine.block(**hidden):
            w = pyro.param("w", torch.ones(3), constraint=dist.constraints.positive)
        pyro.sample("y", dist.Normal(w, 1.0).to_event(1))

    graph = render_model(model).model
    assert edges(graph) == {("w", "y")}
    assert boxes(graph) == {"w": 3}
