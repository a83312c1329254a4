"""Every argument of every verb, given a value of the wrong kind: one sentence says what fits."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch

import pyro_vae
from pyro_vae import InputError
from pyro_vae.errors import MAX_SHOWN
from pyro_vae.inference import (
    NUTS,
    SMC,
    Annealed,
    Auto,
    Bidirectional,
    Importance,
    Sandwich,
    refined,
    wider,
)
from pyro_vae.inference.objectives import Capacity, Cyclical, InfoVAE, InverseMultiquadric, Linear
from pyro_vae.models import FactorAnalysis
from pyro_vae.testing import check_program

X = torch.arange(12.0).reshape(4, 3)
VALUES = {
    "text": "x",
    "empty": "",
    "fraction": 2.5,
    "negative": -1,
    "zero": 0,
    "none": None,
    "true": True,
    "nan": float("nan"),
    "infinite": float("inf"),
    "huge": 10**30,
    "list": [],
    "numbers": [1.5],
    "dict": {},
    "bytes": b"x",
    "complex": 1j,
    "object": object(),
    "scalar": torch.tensor(1.5),
    "tensor": torch.full((2,), 1.5),
    "function": len,
}
NUMBERS = {"fraction", "zero", "huge"}  # finite, and not below 0
POSITIVE = {"fraction", "huge"}
FLAG, TEXT, PATH = {"true"}, {"text", "empty"}, {"text"}
NONE = {"none"}
# for each argument the values that fit it, or whose fault shows only later
FIT = {
    "validation": NONE | {"tensor"},  # rows, of another shape
    "epochs": NONE,
    "steps": NONE,
    "batch_size": NONE,
    "shuffle": NONE | FLAG,
    "optimizer": NONE | {"function"},
    "lr_schedule": NONE | {"function"},
    "elbo": NONE,
    "beta": NUMBERS,
    "kl_warmup": NUMBERS,
    "clip_norm": NONE | POSITIVE,
    "patience": NONE,
    "keep_best": FLAG,
    "averaging": NONE,
    "restarts": set(),
    "seed": {"zero"},
    "device": set(),
    "out": NONE | PATH,
    "resume": set(),  # True needs `out`
    "record": NONE | {"dict"},
    "progress": NONE | FLAG,
    "on_epoch": NONE | {"function"},
    "compile": set(),
    "precision": set(),
    "control": set(),
}
LOG_EVIDENCE = {
    "method": TEXT,  # another error, with the names
    "num_particles": NONE,
    "unit": NONE | TEXT,
    "max_memory": NONE,
    "compile": set(),
    "seed": NONE | {"zero"},
    "device": set(),
    "progress": NONE | FLAG,
    "checkpoint": NONE | PATH,
}
POSTERIOR = {
    "method": TEXT,  # another error, with the names
    "num_draws": set(),
    "num_particles": NONE,
    "unit": NONE | TEXT,
    "seed": NONE | {"zero"},
    "device": set(),
    "progress": NONE | FLAG,
}
CALIBRATE = {**POSTERIOR, "num_data_sets": set(), "num_draws": set()}
PRIOR = {
    "num_draws": set(),
    "unit": NONE | TEXT,
    "seed": NONE | {"zero"},
    "device": set(),
}
ROWS = {"unit": NONE | TEXT, "seed": NONE | {"zero"}, "device": set()}
INTERPOLATE = {
    "start": {"zero"},
    "end": {"zero"},
    "along": set(),
    "num_steps": set(),
    "evidence": FLAG,
    "num_draws": set(),
    "num_particles": set(),
    **ROWS,
}
LATENTS = {
    "method": TEXT,  # another error, with the names
    "num_draws": set(),
    "num_particles": set(),
    "progress": NONE | FLAG,
    **ROWS,
}
TRAVERSE = {
    "row": {"zero"},
    "sites": NONE,
    "directions": {"list"},
    "num_steps": set(),
    "probability": set(),
    "method": TEXT,
    "num_particles": NONE,
    **ROWS,
}
RENDER = {
    "model_args": NONE,
    "model_kwargs": NONE | {"dict", "list"},
    "filename": NONE,
    **dict.fromkeys(
        ("render_distributions", "render_params", "render_deterministic", "render_shapes"), FLAG
    ),
    **dict.fromkeys(("render_constraints", "render_sizes", "render_numbers", "fold_guide"), FLAG),
    "labels": NONE | {"dict"},
    "fold": NONE | FLAG,
    "guide": NONE | {"function"},
    "edges": {"list"},
}
LOAD = {
    "name": TEXT,
    "root": NONE | PATH,
    "download": FLAG,
    "binarize": TEXT,
    "seed": {"zero", "negative"},
    "validation": NONE | {"zero"},
    "standardize": NONE | FLAG,
    **dict.fromkeys(("label", "unseen", "array", "id", "separator", "decimal"), NONE | TEXT),
    "arguments": NONE,
    "columns": NONE | {"list"},
    "kinds": NONE | {"dict"},
    "header": NONE | FLAG,
    "missing": FLAG | {"list", "numbers"},
    "pixels": NONE | FLAG,
    "image_size": NONE,
}
CHECK_PROGRAM = {
    "num_particles": set(),
    "unit": NONE | TEXT,
    "seed": {"zero"},
    "device": set(),
    "checks": {"list"},
}
VERBS: dict[Callable[..., Any], tuple[dict[str, Any], dict[str, set[str]]]] = {
    pyro_vae.fit: ({"data": X}, FIT),
    pyro_vae.log_evidence: ({"data": X}, LOG_EVIDENCE),
    pyro_vae.evaluate: (
        {"data": X},
        {"num_particles": set(), "seed": NONE | {"zero"}, "device": set()},
    ),
    pyro_vae.prior_samples: ({"data": X}, PRIOR),
    pyro_vae.posterior: ({"data": X}, POSTERIOR),
    pyro_vae.calibrate: ({"data": X, "num_data_sets": 20, "num_draws": 9}, CALIBRATE),
    pyro_vae.interpolate: ({"data": X, "num_draws": 2, "num_particles": 5}, INTERPOLATE),
    pyro_vae.latents: ({"data": X, "num_particles": 5}, LATENTS),
    pyro_vae.traverse: ({"data": X}, TRAVERSE),
    pyro_vae.render_model: ({"model_args": (X,)}, RENDER),
    pyro_vae.load: ({"name": "digits"}, LOAD),
    check_program: ({"data": X}, CHECK_PROGRAM),
    wider: ({}, {"factor": POSITIVE}),
    refined: ({}, {"steps": set(), "learning_rate": POSITIVE, "elbo": NONE}),
    Importance: ({}, {"prior_share": {"zero"}, "symmetrize": FLAG}),
    Annealed: (
        {},
        {
            "num_temperatures": set(),
            "start": set(),
            "schedule": set(),
            "num_leapfrog": set(),
            "symmetrize": FLAG,
        },
    ),
    NUTS: (
        {},
        {"num_chains": set(), "num_warmup": set(), "target_accept": set(), "max_tree_depth": set()},
    ),
    Auto: (
        {},
        {
            "importance": set(),
            "annealed": set(),
            "num_chains": set(),
            "smc": set(),
            "smc_particles": set(),
            "seconds": NONE | POSITIVE,
            "draws": NONE | {"dict"},
            "num_chains_of_draws": set(),
        },
    ),
    SMC: (
        {},
        {
            "start": set(),
            "num_islands": set(),
            "num_leapfrog": set(),
            "symmetrize": FLAG,
            "pilot": FLAG,
        },
    ),
    Sandwich: ({}, {"annealed": set()}),
    Bidirectional: ({}, {"annealed": set()}),
    Linear: ({}, {"start": NUMBERS, "end": NUMBERS, "epochs": POSITIVE}),
    Cyclical: ({}, {"end": NUMBERS, "epochs": POSITIVE, "rising": set()}),
}
OTHERS = {"program", "model", "data", "args", "kwargs"}
CASES = [
    pytest.param(verb, name, id=f"{verb.__name__}-{name}")
    for verb, (_, arguments) in VERBS.items()
    for name in arguments
]


def faults_of(error: InputError, name: str) -> list[str]:
    """What the error leaves unsaid."""
    text = str(error)
    said = {
        "subject": error.subject == name,
        "remedy": bool(error.remedy),
        "name": name in text,
        "one line": "\n" not in text,
        "short": len(text) < 200 + MAX_SHOWN,
    }
    return [f"no {what}: {text}" for what, is_there in said.items() if not is_there]


@pytest.mark.parametrize(("verb", "name"), CASES)
def test_a_wrong_argument_is_named_with_what_fits_and_what_helps(verb, name) -> None:
    given, arguments = VERBS[verb]
    takes_program = {"program", "model"} & set(inspect.signature(verb).parameters)
    program = dict.fromkeys(takes_program, FactorAnalysis((3,), 1))
    faults = []
    for kind in VALUES.keys() - arguments[name]:
        try:
            verb(**{**program, **given, name: VALUES[kind]})
            faults.append(f"{kind} is taken")
        except InputError as error:
            faults += faults_of(error, name)
    assert faults == []


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
def test_no_argument_is_left_out(verb) -> None:
    assert set(VERBS[verb][1]) | OTHERS >= set(inspect.signature(verb).parameters)


@pytest.mark.parametrize(
    "verb",
    [
        pyro_vae.fit,
        pyro_vae.log_evidence,
        pyro_vae.evaluate,
        pyro_vae.prior_samples,
        pyro_vae.posterior,
    ],
)
def test_data_of_another_kind(verb) -> None:
    for kind in VALUES.keys() - {"none", "tensor"}:
        with pytest.raises(InputError) as caught:
            verb(FactorAnalysis((3,), 1), VALUES[kind])
        error = caught.value
        assert error.subject == "data"
        assert error.expected
        assert error.remedy


def test_validation_rows_of_another_shape() -> None:
    with pytest.raises(InputError) as caught:
        pyro_vae.fit(FactorAnalysis((3,), 1), X, validation=torch.ones(2), epochs=1, progress=False)
    assert "validation" in str(caught.value)


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ({"epochs": "3"}, "pass epochs=3"),
        ({"epochs": 3.0}, "pass epochs=3"),
        ({"epochs": "many"}, "leave epochs out for the default"),
        ({"batch_size": 2.5}, "leave batch_size out for the default"),
        ({"beta": "0.5"}, "pass beta=0.5"),
        ({"beta": torch.tensor(0.5)}, "pass beta=0.5"),
        ({"keep_best": 1}, "pass keep_best=True"),
        ({"shuffle": 0}, "pass shuffle=False"),
        ({"resume": True}, "pass out=FOLDER, too"),
    ],
)
def test_the_remedy_is_the_value_that_was_meant(given, remedy) -> None:
    with pytest.raises(InputError) as caught:
        pyro_vae.fit(FactorAnalysis((3,), 1), X, **given)
    assert caught.value.remedy == remedy


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Capacity(capacity=5.0), "capacity"),
        (lambda: InfoVAE(kernel="gaussian"), "kernel"),
        (lambda: InverseMultiquadric(scales=()), "scales"),
        (lambda: InverseMultiquadric(scales=1.0), "scales"),
    ],
)
def test_parts_of_an_objective(make, name) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert caught.value.subject == name
    assert caught.value.remedy


@pytest.mark.parametrize("count", ["x", 0, -1, 2.5])
def test_an_elbo_of_pyro_with_a_wrong_number_of_particles(count) -> None:
    from pyro.infer import Trace_ELBO

    with pytest.raises(InputError) as caught:
        pyro_vae.fit(FactorAnalysis((3,), 1), X, elbo=Trace_ELBO(num_particles=count))
    assert caught.value.subject == "elbo"
