"""Expected nodes, plates and edges of every program in the gallery, written out by hand."""

import json

import pytest

SCHOOLS = (
    {"data": "sigma@schools", "latent": "mu tau theta@schools", "observed": "y@schools"},
    {"theta": "mu tau", "y": "sigma theta"},
    {"schools": 8},
)
MODELS = {
    "vae": (
        {"latent": "z@data", "observed": "x@data", "parameters": "likelihood"},
        {"x": "likelihood z"},
        {"data": 64},
    ),
    "factor_analysis": (
        {"latent": "z@data", "observed": "x@data", "parameters": "bias loadings log_scale"},
        {"x": "bias loadings log_scale z"},
        {"data": 50},
    ),
    "conditional_vae": (
        {
            "data": "y@data",
            "latent": "z@data",
            "observed": "x@data",
            "parameters": "decoder prior",
        },
        {"x": "decoder y z", "z": "prior y"},
        {"data": 32},
    ),
    "semi_supervised_vae": (
        {
            "latent": "z@data",
            "observed": "x@data",
            "partially_observed": "y@data",
            "parameters": "decoder",
        },
        {"x": "decoder y z"},
        {"data": 32},
    ),
    "hierarchical_vae": (
        {"latent": "z1@data z2@data", "observed": "x@data", "parameters": "decoder middle"},
        {"x": "decoder z1", "z1": "middle z2"},
        {"data": 32},
    ),
    "mixture": (
        {"latent": "k@data locs@components scales@components weights", "observed": "x@data"},
        {"k": "weights", "x": "k locs scales"},
        {"components": 3, "data": 100},
    ),
    "deep_markov_model": (
        {
            "latent": " ".join(f"z_{t}@sequences" for t in range(1, 6)),
            "observed": " ".join(f"x_{t}@sequences" for t in range(1, 6)),
            "parameters": "emitter transition z_0",
        },
        {
            "z_1": "transition z_0",
            **{f"z_{t}": f"transition z_{t - 1}" for t in range(2, 6)},
            **{f"x_{t}": f"emitter z_{t}" for t in range(1, 6)},
        },
        {"sequences": 16},
    ),
    "deep_markov_model_folded": (
        {
            "latent": "z_t@sequences+t",
            "observed": "x_t@sequences+t",
            "parameters": "emitter transition z_0",
        },
        {"x_t": "emitter z_t", "z_t": "transition z_0 z_t"},
        {"sequences": 16, "t": 5},
    ),
    "eight_schools": SCHOOLS,
    "auto_normal": SCHOOLS,
    "auto_multivariate_normal": SCHOOLS,
    "latent_dirichlet_allocation": (
        {
            "latent": "doc_topics@documents topic_weights@topics topic_words@topics "
            "word_topics@documents+words",
            "observed": "doc_words@documents+words",
        },
        {
            "doc_topics": "topic_weights",
            "doc_words": "topic_words word_topics",
            "word_topics": "doc_topics",
        },
        {"topics": 8, "documents": 1000, "words": 64},
    ),
    "crossing_plates": (
        {"latent": "noise u@users v@items", "observed": "rating@users+items"},
        {"rating": "noise u v"},
        {"users": 30, "items": 50},
    ),
    "three_crossing_plates": (
        {"latent": "a@A ab@A+B ac@A+C b@B bc@B+C c@C", "observed": "abc@A+B+C"},
        {"ab": "a b", "ac": "a c", "bc": "b c", "abc": "ab ac bc"},
        {"A": 2, "B": 3, "C": 4},
    ),
    "regression": (
        {
            "data": "x@data",
            "deterministic": "mean@data",
            "factor": "small",
            "latent": "bias scale weights",
            "observed": "y@data",
        },
        {"mean": "bias weights x", "small": "weights", "y": "mean scale"},
        {"data": 40},
    ),
    "horseshoe": (
        {
            "data": "x@data",
            "latent": "beta@features lambda@features sigma tau",
            "observed": "y@data",
        },
        {"beta": "lambda tau", "y": "beta sigma x"},
        {"features": 12, "data": 40},
    ),
    "subsampling": (
        {"latent": "local@data mean", "observed": "x@data"},
        {"local": "mean", "x": "local"},
        {"data": 1000},
    ),
    "forty_sites": (
        {
            "latent": " ".join(sorted(f"s{i}" for i in range(35))),
            "observed": " ".join(f"s{i}" for i in range(35, 40)),
        },
        {
            "s5": "s0",
            **{f"s{i}": " ".join(sorted((f"s{i - 6}", f"s{i - 5}"))) for i in range(6, 40)},
        },
        {},
    ),
    "fair_coin": (
        {"latent": "latent_fairness", "observed": "obs_0 obs_1 obs_2 obs_3"},
        {f"obs_{i}": "latent_fairness" for i in range(4)},
        {},
    ),
    "hidden_markov_model": (
        {
            "latent": "probs_x probs_y@tones " + " ".join(f"x_{t}@sequences" for t in range(4)),
            "observed": " ".join(f"y_{t}@sequences+notes_{t}" for t in range(4)),
        },
        {
            "x_0": "probs_x",
            **{f"x_{t}": f"probs_x x_{t - 1}" for t in range(1, 4)},
            **{f"y_{t}": f"probs_y x_{t}" for t in range(4)},
        },
        {"tones": 3, "sequences": 6, **{f"notes_{t}": 3 for t in range(4)}},
    ),
    "rugged_regression": (
        {
            "data": "is_africa@data ruggedness@data",
            "latent": "a bA bAR bR sigma",
            "observed": "obs@data",
        },
        {"obs": "a bA bAR bR is_africa ruggedness sigma"},
        {"data": 170},
    ),
    "partly_observed": (
        {"latent": "mean scale", "partially_observed": "x@data"},
        {"x": "mean scale"},
        {"data": 9},
    ),
    "python_branch": (
        {"latent": "coin heads tails"},
        {"heads": "coin", "tails": "coin"},
        {},
    ),
}
GUIDES = {
    "vae": (
        {"data": "x@data", "latent": "z@data", "parameters": "recognition"},
        {"z": "recognition x"},
        {"data": 64},
    ),
    "factor_analysis": (
        {"data": "x@data", "latent": "z@data", "parameters": "raw_tril regression"},
        {"z": "raw_tril regression x"},
        {"data": 50},
    ),
    "conditional_vae": (
        {"data": "x@data y@data", "latent": "z@data", "parameters": "encoder"},
        {"z": "encoder x y"},
        {"data": 32},
    ),
    "semi_supervised_vae": (
        {
            "data": "x@data",
            "latent": "z@data",
            "partially_observed": "y@data",
            "parameters": "encoder_y encoder_z",
        },
        {"y": "encoder_y x", "z": "encoder_z x y"},
        {"data": 32},
    ),
    "hierarchical_vae": (
        {"data": "x@data", "latent": "z1@data z2@data", "parameters": "bottom encoder top"},
        {"z1": "bottom encoder x z2", "z2": "encoder top x"},
        {"data": 32},
    ),
    "deep_markov_model": (
        {
            "data": "x@sequences",
            "latent": " ".join(f"z_{t}@sequences" for t in range(1, 6)),
            "parameters": "combiner rnn",
        },
        {
            "z_1": "combiner rnn x",
            **{f"z_{t}": f"combiner rnn x z_{t - 1}" for t in range(2, 6)},
        },
        {"sequences": 16},
    ),
    "deep_markov_model_folded": (
        {"data": "x@sequences", "latent": "z_t@sequences+t", "parameters": "combiner rnn"},
        {"z_t": "combiner rnn x z_t"},
        {"sequences": 16, "t": 5},
    ),
    "auto_normal": (
        {
            "latent": "mu tau theta@schools",
            "parameters": "locs.mu locs.tau locs.theta scales.mu scales.tau scales.theta",
        },
        {name: f"locs.{name} scales.{name}" for name in ("mu", "tau", "theta")},
        {"schools": 8},
    ),
    "auto_multivariate_normal": (
        {
            "latent": "_AutoMultivariateNormal_latent mu tau theta@schools",
            "parameters": "loc scale scale_tril",
        },
        {
            "_AutoMultivariateNormal_latent": "loc scale scale_tril",
            **dict.fromkeys(("mu", "tau", "theta"), "_AutoMultivariateNormal_latent"),
        },
        {"schools": 8},
    ),
    "subsampling": (
        {"latent": "local@data mean", "parameters": "loc locs"},
        {"local": "locs", "mean": "loc"},
        {"data": 1000},
    ),
    "fair_coin": (
        {"latent": "latent_fairness", "parameters": "alpha_q beta_q"},
        {"latent_fairness": "alpha_q beta_q"},
        {},
    ),
    "partly_observed": (
        {"latent": "mean x@data", "parameters": "loc"},
        {"mean": "loc", "x": "mean"},
        {"data": 9},
    ),
}
NAMES = sorted(MODELS)


def test_every_program_of_the_gallery_is_expected_here(gallery):
    assert sorted(gallery.GALLERY) == NAMES
    assert len(NAMES) >= 16


@pytest.mark.parametrize("name", NAMES)
def test_nodes_plates_and_edges(name, gallery, sketch):
    graph = gallery.GALLERY[name]()
    assert sketch(graph.model) == MODELS[name]
    assert (graph.guide is not None) == (name in GUIDES)
    if graph.guide is not None:
        assert sketch(graph.guide) == GUIDES[name]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_program_gives_the_same_bytes(name, gallery):
    first, second = gallery.GALLERY[name](), gallery.GALLERY[name]()
    for ending in ("svg", "tex", "dot", "mmd", "txt", "json"):
        assert first.render(ending) == second.render(ending)


def test_subsampled_plates_say_so(gallery):
    plate = gallery.GALLERY["subsampling"]().to_dict()["model"]["plates"]
    assert plate == [{"name": "data", "size": 1000, "subsample_size": 10}]


def test_the_folded_loop_has_a_recurrent_edge(gallery):
    graph = gallery.GALLERY["deep_markov_model_folded"]().model
    assert [(e.source, e.target, e.lag) for e in graph.edges if e.lag] == [("z_t", "z_t", 1)]


def test_edges_know_by_which_parameter_they_enter(gallery):
    edges = gallery.GALLERY["eight_schools"]().model.edges
    assert {(e.source, e.target): e.via for e in edges} == {
        ("mu", "theta"): ("loc",),
        ("tau", "theta"): ("scale",),
        ("theta", "y"): ("loc",),
        ("sigma", "y"): ("scale",),
    }


def test_the_gallery_script_writes_its_files(gallery, tmp_path, capsys):
    paths = gallery.main([str(tmp_path), "--smoke"])
    assert sorted(paths) == NAMES
    assert all(path.stat().st_size > 500 for path in paths.values())
    assert len(capsys.readouterr().out.splitlines()) == len(NAMES)


def test_to_dict_is_as_documented(gallery):
    graph = gallery.GALLERY["vae"]().to_dict()
    assert graph["model"]["nodes"][1] == {
        "name": "z",
        "kind": "latent",
        "distribution": "Normal",
        "arguments": {"loc": "0", "scale": "1"},
        "batch_shape": [64],
        "event_shape": [20],
        "plates": ["data"],
    }
    assert ["z", "x"] in graph["model"]["edges"]
    assert graph["guide"]["edges"] == [["recognition", "z"], ["x", "z"]]
    assert graph["warnings"] == []
    assert json.loads(json.dumps(graph)) == graph
