"""Options that the parser rejects: the error names the option, and what would be right."""

from dataclasses import dataclass

import pytest
from refused import refused

from pyro_vae.cli.options.fit import fit_parser
from pyro_vae.cli.options.parser import new_parser, parse, take_options
from pyro_vae.cli.run.config import FitConfig
from pyro_vae.models import VAE, HierarchicalVAE


@dataclass
class Layers:
    width: int = 3
    depth: int = 2


# the words, the option at fault, and what the error says of it
REFUSED = {
    "--epoch 3": ("--epoch", "Did you mean '--epochs'?"),
    "--optimizer.lrr 3": ("--optimizer.lrr", "Did you mean '--optimizer.lr'?"),
    "--model.latnt_dim 3": ("--model.latnt_dim", "Did you mean '--model.latent_dim'?"),
    "--model.likelihood Normal --model.likelihood.initial_scal 2": (
        "--model.likelihood.initial_scal",
        "Did you mean '--model.likelihood.initial_scale'?",
    ),
    "--model.likelihood Norml": ("--model.likelihood", "Did you mean 'Normal'?"),
    "--model.encoder.activation Sofplus": (
        "--model.encoder.activation",
        "Did you mean 'Softplus'?",
    ),
    "--optimizer Adm": ("--optimizer", "Did you mean 'Adam'?"),
    "--lr_schedule StpLR": ("--lr_schedule", "Did you mean 'StepLR'?"),
    "--lr_schedule StepLR": ("--lr_schedule.step_size", "missing: --lr_schedule.step_size"),
    "--elbo Trce_ELBO": ("--elbo", "Did you mean 'Trace_ELBO'?"),
    "--model.prior torch.nn.Softplus": ("--model.prior", "a Prior, not 'torch.nn.Softplus'"),
    "--model.prior nowhere.Thing": (
        "--model.prior",
        "'nowhere.Thing': No module named 'nowhere'",
    ),
    "--model.likelihood.initial_scale 2": ("--model.likelihood", "--model.likelihood CLASS"),
    "--model.prior foo.yaml": ("--model.prior", "'foo.yaml': No module named 'foo'"),
    "--model.prior PriorFactory": ("--model.prior", "StandardNormal, SphericalUniform"),
    "--beta Linr": ("--beta", "a number or one of Cyclical, Linear, not 'Linr'"),
    "--beta.end 3": ("--beta", "--beta CLASS"),
    "--beta Linear --beta.end x": ("--beta.end", "a number, not 'x'"),
    "--epochs.x 3": ("--epochs.x", "Did you mean '--epochs'?"),
    "--control foo.yaml": ("--control", "`pyro-vae fit --help` lists"),
    "--epochs many": ("--epochs", "an integer, not 'many'"),
    "--optimizer.lr fast": ("--optimizer.lr", "a number, not 'fast'"),
    "--lr_schedule StepLR --lr_schedule.step_size x": (
        "--lr_schedule.step_size",
        "an integer, not 'x'",
    ),
    "--model.latent_dim x": ("--model.latent_dim", "an integer, not 'x'"),
    "--model.encoder.hidden_dims 3,4": (
        "--model.encoder.hidden_dims",
        "a list such as [1,2], not '3,4'",
    ),
    "--model.guide BottomUp": (
        "--model.guide",
        "one of Categorical, FlowGuide, FullCovarianceNormal, Implicit, LowRankNormal, "
        "MeanFieldNormal, MixtureNormal, RelaxedCategorical, VonMisesFisher",
    ),
    "--keep_best perhaps": ("--keep_best", "true or false, not 'perhaps'"),
    "--binarize stochastc": ("--binarize", "Did you mean 'stochastic'?"),
    "--validation some": ("--validation", "an integer or a number, not 'some'"),
    "--epochs": ("--epochs", "expected one argument"),
    "--seed -1": ("--seed", "from 0 to 2**32 - 1, not -1"),
    "surplus": ("surplus", "options that begin with --"),
}


@pytest.mark.parametrize("words", REFUSED)
def test_refused(words):
    option, text = REFUSED[words]
    with refused(option) as caught:
        parse(fit_parser(VAE), words.split())
    assert str(caught.value).endswith(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "problem", "listing"),
    [
        ("--model.likelihood Norml", "no likelihood 'Norml'", "-m pydoc pyro_vae.likelihoods"),
        ("--model.prior VmpPrior", "no prior 'VmpPrior'", "VampPrior"),
        ("--elbo IWEA", "no objective 'IWEA'", "-m pydoc pyro_vae.inference.objectives"),
        ("--optimizer Adm", "no optimizer 'Adm'", "-m pydoc torch.optim"),
        ("--binarize stochastc", "no binarization 'stochastc'", "stochastic"),
        ("--epoch 3", "no option --epoch", "`pyro-vae fit --help`"),
    ],
)
def test_an_unknown_name_is_of_a_kind_and_all_are_listed(words, problem, listing):
    with refused(words.split()[0], expected=listing, remedy="did you mean '") as caught:
        parse(fit_parser(VAE), words.split())
    assert caught.value.problem == f"there is {problem}"


def test_a_class_that_does_not_fit_is_not_suggested():
    with refused("--model.guide", expected="one of BottomUp, Ladder") as caught:
        parse(fit_parser(HierarchicalVAE), ["--model.guide", "MeanFieldNormal"])
    assert str(caught.value).endswith("BottomUp, Ladder")
    with refused("--elbo", expected="IWAE") as caught:
        parse(fit_parser(VAE), ["--elbo", "Trace_MMD"])
    assert str(caught.value).count("Trace_MMD") == 1


@pytest.mark.parametrize(
    ("config", "subject", "text"),
    [
        ({"epoch": 3}, "--epoch", "Did you mean '--epochs'?"),
        ({"epochs": "x"}, "--epochs", "an integer, not the value in the configuration file"),
        (
            {"model": {"class_path": "VAE", "init_args": {"latent": 3}}},
            "--model.latent",
            "Did you mean '--model.latent_dim'?",
        ),
        ({"model": 3}, "model", "class_path and init_args"),
    ],
)
def test_a_configuration_is_refused_in_the_same_words(config, subject, text):
    with refused(subject) as caught:
        FitConfig.read([], {"model": "VAE", **config})
    assert str(caught.value).endswith(text)


def test_a_group_of_options_is_no_class():
    parser = new_parser("fit", "", ())
    parser.add_class_arguments(Layers, "layers")
    with refused("--layers", expected="--layers.width, --layers.depth"):
        parse(parser, ["--layers", "foo.yaml"])


def test_numbers_are_of_the_kind_that_they_are_written_in():
    parser = fit_parser(VAE)
    assert parse(parser, ["--validation", "200"]).validation == 200
    assert isinstance(parse(parser, ["--validation", "200"]).validation, int)
    assert parse(parser, ["--validation", "0.2"]).validation == 0.2
    assert parse(parser, ["--label", "3"]).label == "3"
    assert parse(parser, ["--optimizer.lr", "3e-4"]).optimizer.init_args.lr == 3e-4


def test_an_option_without_its_value():
    with refused("--model", expected="a value"):
        take_options(["--model", "--epochs", "3"], "--model".__eq__)
