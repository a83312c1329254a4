"""Plates that declare no size: the sites and data inside show it."""

from collections.abc import Callable

import pyro
import pytest
import torch
from diagrams import normal
from pyro import poutine
from torch import Tensor

from pyro_vae.graph import render_model


def unsized(x: Tensor) -> None:
    with pyro.plate("data"):
        z = normal("z", torch.zeros(len(x)))
        normal("x", z, obs=x)


def unsized_short(x: Tensor) -> None:
    with pyro.plate("data"):
        normal("x", normal("z", 0.0), obs=x)


def unsized_crossing(x: Tensor) -> None:
    with pyro.plate("columns", dim=-1), pyro.plate("rows", dim=-2):
        normal("y", normal("u", torch.zeros(3, 4)))


def unsized_within(x: Tensor) -> None:
    with pyro.plate("known", 3, dim=-2):
        normal("u", torch.zeros(3, 1))
        with pyro.plate("data", dim=-1):
            normal("x", torch.zeros(3, 5), obs=x.expand(3, 5))


def unsized_unknown(x: Tensor) -> None:
    with pyro.plate("data"):
        normal("y", normal("z", 0.0))


@pytest.mark.parametrize(
    ("model", "sizes"),
    [
        (unsized, {"data": 5}),
        (unsized_short, {"data": 5}),
        (unsized_crossing, {"columns": 4, "rows": 3}),
        (unsized_within, {"known": 3, "data": 5}),
        (unsized_unknown, {"data": None}),
    ],
)
def test_the_size_of_a_plate_that_declares_none(
    model: Callable[..., None], sizes: dict[str, int]
) -> None:
    graph = render_model(model, (torch.zeros(5),))
    assert {plate.name: plate.size for plate in graph.model.plates} == sizes
    assert {plate.name: plate.subsample_size for plate in graph.model.plates} == sizes
    assert all(node.marks == () for node in graph.model.nodes)  # none is scaled
    assert "-1" not in graph.text + graph.svg
    for name, size in sizes.items():
        assert f"┌ {name}\n" in graph.text if size is None else f"┌ {name}  {size}\n" in graph.text


def test_scales_in_plates_with_and_without_a_size() -> None:
    def model() -> None:
        with pyro.plate("data"), poutine.scale(scale=2.0):
            normal("twice", torch.zeros(5))
        with pyro.plate("tensor", torch.tensor(5)):
            normal("whole", 0.0)
        with pyro.plate("part", 10, subsample_size=5), pyro.plate("other", dim=-2):
            normal("subsampled", torch.zeros(3, 5))

    nodes = render_model(model).model.by_name
    assert {name: node.marks for name, node in nodes.items()} == {
        "twice": ("scaled",),
        "whole": (),
        "subsampled": (),
    }


def test_data_stand_inside_a_plate_without_a_size() -> None:
    def guide(x: Tensor) -> None:
        with pyro.plate("data"):
            normal("z", x / 2)

    graph = render_model(unsized, (torch.zeros(5),), guide=guide)
    assert graph.guide is not None
    assert graph.guide.by_name["x"].plates == ("data",)
    assert graph.to_dict()["guide"]["plates"] == [{"name": "data", "size": 5, "subsample_size": 5}]
