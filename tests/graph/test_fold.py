"""Loops drawn once."""

import pyro
import torch
from diagrams import edges, normal

from pyro_vae.graph import render_model


def test_a_sequential_plate_folds_into_one():
    def model(x):
        z = normal("z", 0.0)
        for i in pyro.plate("steps", 3):
            normal(f"x_{i}", z, obs=x[i])

    whole = render_model(model, (torch.zeros(3),)).model
    assert [n.plates for n in whole.nodes if n.name != "z"] == [("steps",)] * 3
    folded = render_model(model, (torch.zeros(3),), fold=True).model
    assert edges(folded) == {("z", "x_t")}
    assert folded.by_name["x_t"].plates == ("steps",)
    assert [(p.name, p.size) for p in folded.plates] == [("steps", 3)]


def test_plates_of_single_steps_fold_into_one():
    def model():
        for t in range(3):
            z = normal(f"z_{t}", 0.0)
            with pyro.plate(f"notes_{t}", 5):
                normal(f"x_{t}", z)

    folded = render_model(model, fold=True).model
    assert edges(folded) == {("z_t", "x_t")}
    assert folded.by_name["x_t"].plates == ("notes_t", "t")
    assert {p.name: p.size for p in folded.plates} == {"notes_t": 5, "t": 3}


def test_two_alike_sites_are_not_a_loop():
    def model():
        normal("z_2", normal("z_1", 0.0))

    assert edges(render_model(model, fold=True).model) == {("z_1", "z_2")}


def test_a_loop_of_second_order():
    def model():
        z = [normal("z_0", 0.0), normal("z_1", 0.0)]
        for t in range(2, 6):
            z.append(normal(f"z_{t}", z[-1] + z[-2]))

    folded = render_model(model, fold=True).model
    assert [(e.source, e.target, e.lag) for e in folded.edges] == [
        ("z_t", "z_t", 1),
        ("z_t", "z_t", 2),
    ]
