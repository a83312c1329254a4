"""``pyro-vae graph``: diagrams of a run, of a model by its name, and of the user's function."""

import json
import xml.etree.ElementTree as ElementTree

import pytest


def test_a_run_leaves_its_diagram_and_can_be_drawn_again(call, here):
    call(
        "fit --model VAE --model.latent_dim 2 --data digits --binarize fixed --epochs 1 --out runs/v"
    )
    assert (here / "runs/v/graph.png").read_bytes()[:4] == b"\x89PNG"
    ElementTree.parse(here / "runs/v/graph.svg")
    assert call("graph runs/v --out v.json").code == 0
    graph = json.loads((here / "v.json").read_text())
    assert ["z", "x"] in graph["model"]["edges"]
    assert ["x", "z"] in graph["guide"]["edges"]
    z = next(node for node in graph["model"]["nodes"] if node["name"] == "z")
    assert z["event_shape"] == [2]
    assert call("graph runs/v --model_only --out m.json").code == 0
    assert json.loads((here / "m.json").read_text())["guide"] is None


def test_a_model_by_its_name_and_ones_own(call, here):
    shown = call("graph --model VAE --text")
    assert shown.code == 0
    assert "likelihood, z" in shown.out
    assert not (here / "graph.svg").exists()
    assert call("graph --model my_model.MyVAE --data digits --out mine.svg").code == 0
    assert "encoder" in (here / "mine.svg").read_text()
    (here / "plain.py").write_text(
        "import pyro, pyro.distributions as dist\n"
        "def story(x):\n"
        "    mean = pyro.sample('mean', dist.Normal(0.0, 1.0))\n"
        "    with pyro.plate('rows', len(x)):\n"
        "        pyro.sample('x', dist.Normal(mean, 1.0).expand(x.shape[1:]).to_event(3), obs=x)\n"
    )
    assert "mean" in call("graph --model plain.story --text").out


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("graph", ("--model VAE",)),
        ("graph --model VEA", ("Did you mean 'VAE'",)),
        ("graph --model VAE --out a.bmp", ("--out a.bmp", ".svg, .png, .pdf")),
        ("graph --model VAE --out none/a.svg", ("none", "a.svg")),
        ("graph runs/none", ("runs/none",)),
        ("graph --model my_model.Failing --data digits", ("oh no",)),
    ],
)
def test_what_cannot_be_drawn(call, words, names):
    call(words).refuses(*names)


def test_nothing_is_overwritten_unasked(call, here):
    (here / "graph.svg").write_text("mine")
    assert call("graph --model VAE").code == 2
    assert (here / "graph.svg").read_text() == "mine"
    assert call("graph --model VAE --overwrite").code == 0


def test_a_long_loop_in_full_in_part_and_as_one_step(call, here):
    (here / "chain.py").write_text(
        "import pyro, pyro.distributions as dist\n"
        "def story(x):\n"
        "    z = 0.0\n"
        "    for t in range(40):\n"
        "        z = pyro.sample(f'z_{t}', dist.Normal(z, 1.0))\n"
    )
    words = "graph --model chain.story --text"
    assert "z_2 … z_38" in call(words).out
    assert "z_20" in call(f"{words} --no-fold").out
    assert "z_t[t-1]" in call(f"{words} --fold").out
