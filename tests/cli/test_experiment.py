"""What is asked for, as YAML and back, and the model that comes of it."""

import pytest
import torch
import yaml

from pyro_vae.cli.experiment import Experiment
from pyro_vae.cli.likelihood_choice import likelihood_for
from pyro_vae.cli.model_option import filled, find_class, grows_without_bound
from pyro_vae.data import DataSet, Split, ValueRange, load
from pyro_vae.errors import InputError
from pyro_vae.likelihoods import FixedScaleNormal
from pyro_vae.models import VAE, FactorAnalysis, FlowDensity
from pyro_vae.networks import ConvEncoder, join

WORDS = """
    --model VAE --data digits --model.latent_dim 3 --model.likelihood FixedScaleNormal
    --model.likelihood.scale 0.5 --model.encoder ConvEncoder --model.encoder.channels [4,8]
    --optimizer SGD --optimizer.lr 1e-5 --schedule StepLR --schedule.step_size 3 --epochs 7
    --elbo TraceMeanField_ELBO --clip_norm 10 --patience 4 --seed 5
"""


def asked(words, config=None):
    return Experiment.read(words.split(), config)


def test_yaml_holds_everything_and_reads_back_the_same():
    text = asked(WORDS).to_yaml()
    assert asked("", yaml.safe_load(text)).to_yaml() == text
    options = yaml.safe_load(text)
    assert options["model"]["class_path"] == "pyro_vae.models.VAE"
    assert options["model"]["init_args"]["likelihood"]["init_args"] == {"scale": 0.5}
    assert options["optimizer"]["init_args"]["lr"] == 1e-5
    assert {"data", "binarize", "data_seed", "batch_size", "seed", "beta"} <= options.keys()


def test_the_command_line_overrides_a_configuration():
    config = asked(WORDS).to_dict()
    changed = asked("--epochs 9 --model.latent_dim 5", config)
    assert (changed.options.epochs, changed.options.model.latent_dim) == (9, 5)
    assert changed.options.seed == 5
    assert changed.options.model.encoder.init_args.channels == [4, 8]


def test_another_model_does_not_inherit_the_options_of_the_first():
    config = asked(WORDS).to_dict()
    changed = asked("--model FactorAnalysis", config)
    assert changed.model is FactorAnalysis
    assert changed.to_dict()["model"]["init_args"] == {"latent_dim": 2, "isotropic": False}


def test_parts_are_made_with_their_options_and_the_shape_of_the_data():
    experiment, data = asked(WORDS), load("digits")
    vae = experiment.build(data)
    assert isinstance(vae, VAE)
    assert isinstance(vae.likelihood, FixedScaleNormal)
    assert vae.likelihood.scale == 0.5
    assert isinstance(vae.recognition.encoder.network, ConvEncoder)
    assert vae.likelihood(torch.zeros(2, 3)).event_shape == (1, 8, 8)
    kwargs = experiment.fit_options()
    assert kwargs["epochs"] == 7
    assert isinstance(kwargs["optimizer"](vae.parameters()), torch.optim.SGD)


def test_a_vamp_prior_starts_from_data():
    words = "--model VAE --data digits --model.likelihood Bernoulli --model.prior VampPrior"
    words += " --model.prior.num_components"
    data = load("digits")
    pseudo_inputs = asked(f"{words} 7").build(data).prior.pseudo_inputs
    rows = {tuple(row.tolist()) for row in data.train.read().flatten(1)}
    assert {tuple(row.tolist()) for row in pseudo_inputs.flatten(1)} <= rows
    assert torch.equal(asked(f"{words} 7").build(data).prior.pseudo_inputs, pseudo_inputs)
    with pytest.raises(InputError, match="2000 pseudo-inputs from as many rows"):
        asked(f"{words} 2000").build(data)


@pytest.mark.parametrize("name", ["ConditionalVAE", "SemiSupervisedVAE"])
def test_of_data_with_labels_it_starts_from_what_the_guide_reads(name):
    words = f"--model {name} --data digits --model.likelihood Bernoulli --model.prior VampPrior"
    data = load("digits")
    model = asked(f"{words} --model.prior.num_components 7").build(data)
    with torch.no_grad():
        known = join(model.features(data.train.read()), model.condition(data.train.labels))
    apart = (model.prior.pseudo_inputs.unsqueeze(1) - known).norm(dim=-1)
    assert apart.min(1).values.max() < 1e-4 < apart.median()


def test_the_seed_decides_where_the_parameters_start():
    data = load("digits")

    def start(seed):
        model = asked(f"--model VAE --model.likelihood Normal --seed {seed}").build(data)
        return torch.nn.utils.parameters_to_vector(model.parameters())

    assert torch.equal(start("1"), start("1"))
    assert not torch.equal(start("1"), start("2"))


ROWS = {
    "reals": torch.linspace(-2, 3, 60).reshape(20, 3),
    "unit": torch.linspace(0.1, 0.9, 60).reshape(20, 3),
    "counts": 100 * torch.arange(60.0).square().reshape(20, 3),
    "grades": 1 + torch.arange(300.0).reshape(100, 3) % 5,
}


@pytest.mark.parametrize(
    ("x", "levels", "likelihood", "arguments"),
    [
        ("unit", 2, "Bernoulli", {}),
        ("unit", 17, "DiscretizedLogistic", {"levels": 17}),
        ("unit", None, "ContinuousBernoulli", {}),
        ("reals", None, "HeteroscedasticNormal", {}),
        ("counts", None, "NegativeBinomial", {}),
        ("grades", None, "Tokens", {"num_tokens": 6}),
    ],
)
def test_the_likelihood_follows_the_values(x, levels, likelihood, arguments):
    rows = ROWS[x]
    split = Split(rows, ValueRange(float(rows.min()), float(rows.max()), levels))
    chosen = likelihood_for(DataSet("rows", split, None, split))
    assert chosen == {"class_path": f"pyro_vae.likelihoods.{likelihood}", "init_args": arguments}


def test_images_of_real_values_share_a_scale():
    split = Split(torch.randn(20, 1, 3, 3), ValueRange(-2.0, 3.0))
    chosen = likelihood_for(DataSet("images", split, None, split))
    assert chosen["class_path"] == "pyro_vae.likelihoods.Normal"


def test_only_an_open_likelihood_is_chosen():
    assert asked("--model VAE").leaves_likelihood_open()
    chosen = asked("--model VAE --model.likelihood Normal")
    assert not chosen.leaves_likelihood_open()
    assert not asked("--model FactorAnalysis").leaves_likelihood_open()
    config = asked("--model VAE").with_likelihood_for(load("digits")).to_dict()
    assert config["model"]["init_args"]["likelihood"] == likelihood_for(load("digits"))
    assert asked("--model VAE").with_likelihood_for(load("digits")).build(load("digits"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("VEA", "there is no model 'VEA'; did you mean 'VAE'?"),
        ("my_modl.MyVAE", "there is no module 'my_modl' in .* did you mean 'my_model'?"),
        ("my_model.MyVEA", "my_model has no class 'MyVEA'; did you mean 'MyVAE'?"),
        ("my_model.py", "takes a class, not a file: say my_model.CLASS"),
        ("broken.Model", "importing broken failed: No module named 'not_to_be_found'"),
        ("unreadable.Model", "importing unreadable failed: unreadable.py, line 1"),
        ("raising.Model", "importing raising failed: KeyError"),
    ],
)
def test_a_model_that_is_not_there(here, name, message):
    (here / "broken.py").write_text("import not_to_be_found")
    (here / "unreadable.py").write_text("class Model(:")
    (here / "raising.py").write_text("{}['key']")
    with pytest.raises(InputError, match=message):
        find_class(name)


def test_which_model_and_which_data_are_asked_for():
    with pytest.raises(InputError, match="which model"):
        asked("--data digits")
    with pytest.raises(InputError, match="which data"):
        asked("--model VAE").load_data()


def test_a_constructor_that_raises(here):
    negative = asked("--model VAE --model.likelihood Normal --model.latent_dim -1")
    with pytest.raises(InputError):
        negative.build(load("digits"))
    with pytest.raises(InputError, match="NoProgram is no program"):
        asked("--model my_model.NoProgram").build(load("digits"))


def test_the_data_say_how_many_levels_there_are():
    dequantized = asked("--model DequantizedFlow --data digits")
    assert dequantized.build(load("digits")).levels == 17
    assert dequantized.build(load("digits", binarize="threshold")).levels == 2


def test_a_density_of_levels_is_warned_of():
    warning = grows_without_bound(FlowDensity, load("digits"))
    assert warning.startswith("x takes 17 levels, so a density of it can grow without bound")
    assert "DequantizedFlow, with levels=17," in warning
    standardized = grows_without_bound(FlowDensity, load("digits", standardize=True))
    assert standardized == f"{warning} (without --standardize)"
    assert grows_without_bound(VAE, load("digits")) is None


def test_a_condition_reads_labels_in_place_of_the_number_of_classes():
    words = """--model ConditionalVAE --data digits --model.condition OneHot
        --model.condition.in_shape [] --model.condition.out_shape [12] --model.likelihood Bernoulli"""
    assert asked(words).build(load("digits")).condition.out_shape == (12,)


def test_levels_that_a_model_must_know_are_asked_for():
    class OnLevels:
        def __init__(self, data_shape, levels): ...

    assert filled(OnLevels, load("digits")) == {"data_shape": (1, 8, 8), "levels": 17}
    with pytest.raises(InputError, match=r"OnLevels needs values on levels, .*--standardize out"):
        filled(OnLevels, load("digits", standardize=True))
