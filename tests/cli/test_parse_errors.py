"""Options that are refused, each with one sentence that says what would be right."""

import pytest

from pyro_vae.cli.options.parser import read, take_options
from pyro_vae.cli.run.config import Experiment, fit_parser
from pyro_vae.errors import InputError
from pyro_vae.models import VAE, HierarchicalVAE

REFUSED = {
    "--epoch 3": "there is no option --epoch; did you mean '--epochs'?",
    "--optimizer.lrr 3": "there is no option --optimizer.lrr; did you mean '--optimizer.lr'?",
    "--model.latnt_dim 3": (
        "there is no option --model.latnt_dim; did you mean '--model.latent_dim'?"
    ),
    "--model.likelihood Normal --model.likelihood.initial_scal 2": (
        "there is no option --model.likelihood.initial_scal; "
        "did you mean '--model.likelihood.initial_scale'?"
    ),
    "--model.likelihood Norml": ("--model.likelihood: there is no 'Norml'; did you mean 'Normal'?"),
    "--model.encoder.activation Sofplus": (
        "--model.encoder.activation: there is no 'Sofplus'; did you mean 'Softplus'?"
    ),
    "--optimizer Adm": "--optimizer: there is no 'Adm'; did you mean 'Adam'?",
    "--schedule StpLR": "--schedule: there is no 'StpLR'; did you mean 'StepLR'?",
    "--schedule StepLR": "missing: --schedule.step_size",
    "--elbo Trce_ELBO": "--elbo: there is no 'Trce_ELBO'; did you mean 'Trace_ELBO'?",
    "--model.prior torch.nn.Softplus": "--model.prior must be a Prior, not 'torch.nn.Softplus'",
    "--model.prior nowhere.Thing": (
        "--model.prior: there is no 'nowhere.Thing': No module named 'nowhere'"
    ),
    "--model.likelihood.initial_scale 2": (
        "--model.likelihood has no class that takes further options: name one, "
        "--model.likelihood CLASS"
    ),
    "--epochs many": "--epochs must be an integer, not 'many'",
    "--optimizer.lr fast": "--optimizer.lr must be a number, not 'fast'",
    "--schedule StepLR --schedule.step_size x": (
        "--schedule.step_size must be an integer, not 'x'"
    ),
    "--model.latent_dim x": "--model.latent_dim must be an integer, not 'x'",
    "--model.encoder.hidden_dims 3,4": (
        "--model.encoder.hidden_dims must be a list such as [1,2], not '3,4'"
    ),
    "--model.guide BottomUp": (
        "--model.guide: BottomUp does not fit here; what does: Categorical, FlowGuide, "
        "FullCovarianceNormal, LowRankNormal, MeanFieldNormal, MixtureNormal, RelaxedCategorical, "
        "VonMisesFisher"
    ),
    "--keep_best perhaps": "--keep_best must be true or false, not 'perhaps'",
    "--binarize stochastc": "--binarize cannot be 'stochastc'; did you mean 'stochastic'?",
    "--validation some": "--validation must be an integer or a number, not 'some'",
    "--epochs": "argument --epochs: expected one argument",
    "--seed -1": "--seed must be between 0 and 2**32 - 1, not -1",
    "surplus": "'surplus' is one word too many; options begin with --",
}


@pytest.mark.parametrize("words", REFUSED)
def test_refused(words):
    with pytest.raises(InputError) as refusal:
        read(fit_parser(VAE), words.split())
    assert str(refusal.value) == REFUSED[words]


def test_a_class_that_does_not_fit_is_not_suggested():
    with pytest.raises(InputError, match=r"does not fit here; what does: BottomUp, Ladder$"):
        read(fit_parser(HierarchicalVAE), ["--model.guide", "MeanFieldNormal"])
    with pytest.raises(InputError, match=r"Trace_MMD does not fit here; what does: .*IWAE") as no:
        read(fit_parser(VAE), ["--elbo", "Trace_MMD"])
    assert str(no.value).count("Trace_MMD") == 1


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"epoch": 3}, "there is no option --epoch; did you mean '--epochs'?"),
        ({"epochs": "x"}, "--epochs must be an integer, not what the configuration file says"),
        (
            {"model": {"class_path": "VAE", "init_args": {"latent": 3}}},
            "there is no option --model.latent; did you mean '--model.latent_dim'?",
        ),
        ({"model": 3}, "the configuration's `model` must hold class_path and init_args"),
    ],
)
def test_a_configuration_is_refused_in_the_same_words(config, message):
    with pytest.raises(InputError) as refusal:
        Experiment.read([], {"model": "VAE", **config})
    assert str(refusal.value) == message


def test_numbers_are_of_the_kind_that_they_are_written_in():
    parser = fit_parser(VAE)
    assert read(parser, ["--validation", "200"]).validation == 200
    assert isinstance(read(parser, ["--validation", "200"]).validation, int)
    assert read(parser, ["--validation", "0.2"]).validation == 0.2
    assert read(parser, ["--label", "3"]).label == "3"
    assert read(parser, ["--optimizer.lr", "3e-4"]).optimizer.init_args.lr == 3e-4


def test_an_option_without_its_value():
    with pytest.raises(InputError, match="--model needs a value"):
        take_options(["--model", "--epochs", "3"], "--model".__eq__)
