"""Labels in place of names: set in pictures and LaTeX, and in words elsewhere."""

import sys
import xml.etree.ElementTree as ET

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoNormal
from refused import refused

from pyro_vae import render_model
from pyro_vae.graph.layout.mathtext import math_width, plain

LABELS = {"mu": r"$\mu$", "y": r"score $\bar{y}_j$", "sd": "standard deviation"}
Y = torch.zeros(8)


def model(y):
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    sd = pyro.sample("sd", dist.HalfNormal(1.0))
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Normal(mu, sd), obs=y)


@pytest.fixture(scope="module")
def labelled():
    return render_model(model, (Y,), guide=AutoNormal(model), labels=LABELS)


def test_texts_have_the_labels_in_words(labelled) -> None:
    for ending in ("txt", "dot", "mmd"):
        text = labelled.render(ending).decode().replace("#95;", "_")
        assert "μ" in text
        assert "score bar y_j" in text
        assert "standard deviation" in text
        assert "$" not in text
    assert "← μ, standard deviation" in labelled.text


def test_latex_has_the_mathematics(labelled) -> None:
    for ending in ("tex", "tikz"):
        text = labelled.render(ending).decode()
        assert r"{$\mu$};" in text
        assert r"{score\ $\bar{y}_j$};" in text


def test_an_svg_draws_it_as_outlines_within_the_node(labelled) -> None:
    root = ET.fromstring(labelled.svg)
    outlines = [e for e in root.iter() if e.get("class", "").startswith("math")]
    assert len(outlines) == 3  # mu, y, and the guide's latents
    assert all("nan" not in e.get("d") and len(e.get("d")) > 100 for e in outlines)
    for shape in labelled.scene.panels[0].nodes:
        assert all(shape.rect.holds(text.rect) for text in shape.texts)
    assert labelled.render("png")[:4] == b"\x89PNG"


def test_what_a_guide_draws_together_has_the_labels_too(labelled) -> None:
    (latent,) = [n for n in labelled.shown.graphs["guide"].nodes if n.kind == "latent"]
    assert latent.label == r"($\mu$, standard deviation)"


def test_the_graph_as_data_has_names_and_labels(labelled) -> None:
    nodes = labelled.to_dict()["model"]["nodes"]
    assert {n["name"]: n.get("label") for n in nodes} == LABELS
    assert labelled.model.parents("y") == ("mu", "sd")


def test_parameters_and_steps() -> None:
    def guide(y):
        pyro.sample("mu", dist.Normal(pyro.param("m", Y[0]), pyro.param("s", Y[0] + 1)))
        pyro.sample("sd", dist.Delta(torch.tensor(1.0)))

    graph = render_model(model, (Y,), guide=guide, labels={"m": "mean"})
    assert "mean, s" in {node.label for node in graph.grouped_graphs["guide"].nodes}

    def chain():
        z = torch.zeros(())
        for t in range(5):
            z = pyro.sample(f"z_{t}", dist.Normal(z, 1.0))

    folded = render_model(chain, fold=True, labels={"z_t": "$z_t$"})
    assert "○ z_t" in folded.text
    assert folded.model.by_name["z_t"].caption == "$z_t$"


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({"muu": "m"}, ("'muu'", "Did you mean 'mu'?")),
        ({"mu": r"$\nothing$"}, ("Unknown symbol", "mathematics between dollar signs")),
        ({"mu": "$x"}, ("a dollar sign is missing",)),
        ({"mu": 3}, ("a dict of names and texts",)),
        (["mu"], ("a dict",)),
    ],
)
def test_what_is_no_label(labels, words) -> None:
    with refused("labels") as caught:
        render_model(model, (Y,), labels=labels)
    assert [word for word in words if word not in str(caught.value)] == []


def test_words() -> None:
    assert plain(r"$\Omega_{ij}$ of $\mathrm{x}$") == "Ω_ij of x"
    assert plain(r"$\varepsilon^2$") == "ε^2"
    assert 0 < math_width("$i$", 10) < math_width("$m_i$", 10)


def test_a_name_with_dollars_is_no_mathematics() -> None:
    def odd():
        pyro.sample("$x$", dist.Normal(0.0, 1.0))

    graph = render_model(odd)
    assert r"\$x\$" in graph.render("tex").decode()
    assert ">$x$</text>" in graph.svg


def test_the_users_settings_of_matplotlib_do_not_matter() -> None:
    import matplotlib as mpl

    assert "matplotlib" in sys.modules
    math_width.cache_clear()
    width = math_width(r"$\theta_j$", 13.0)
    math_width.cache_clear()
    with mpl.rc_context({"mathtext.fontset": "cm"}):
        assert math_width(r"$\theta_j$", 13.0) == width
