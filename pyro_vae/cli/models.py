"""``pyro-vae models``: list the models, and the parts that they can be composed of."""

import inspect
import re
from collections.abc import Iterator, Sequence
from types import ModuleType

from pyro.infer import ELBO

import pyro_vae.models
from pyro_vae import flows, guides, item_models, likelihoods, networks, priors
from pyro_vae.cli.options.parser import new_parser, parse
from pyro_vae.cli.output.console import note
from pyro_vae.inference import objectives
from pyro_vae.parts import is_choice
from pyro_vae.sequences import transitions

PARTS: dict[str, tuple[ModuleType, type]] = {
    "prior": (priors, object),
    "guide": (guides, object),
    "likelihood": (likelihoods, object),
    "encoder, decoder": (networks, object),
    "flow": (flows, flows.Flow),
    "item": (item_models, item_models.Item),
    "transition": (transitions, transitions.Transition),
    "--elbo": (objectives, ELBO),
    "--elbo.loss": (objectives, objectives.AdversarialLoss),
    "--elbo.penalty": (objectives, objectives.Penalty),
    "--beta": (objectives, objectives.Schedule),
}
INDENT = "    "
DESCRIPTION = """\
List the models that --model can name, each with its story p(x, z), its guide
q(z | x), the parts that it is composed of and its source; then the classes that
each part can be."""


def main(words: Sequence[str]) -> int:
    """List the models and the parts."""
    parse(new_parser("models", DESCRIPTION, ("pyro-vae models",)), words)
    for name in pyro_vae.models.__all__:
        print("\n".join(model_lines(name, getattr(pyro_vae.models, name))))
    print("\nParts of a model and of its fit, by the option that names them")
    for option, (module, kind) in PARTS.items():
        print(f"{INDENT}{option}: {', '.join(class_names(module, kind))}")
    note(
        "\nor MODULE.CLASS, your own class with .model and .guide; the options of a model: "
        "pyro-vae fit --model NAME --help"
    )
    return 0


def model_lines(name: str, model: type) -> Iterator[str]:
    """Yield a model's name, its story, its parts and its source."""
    text = inspect.getdoc(model) or ""
    yield name
    yield INDENT + text.split("\n")[0]
    parts = [
        f"{parameter.name} {parameter.default.__name__}"
        for parameter in inspect.signature(model).parameters.values()
        if inspect.isclass(parameter.default) and parameter.default is not inspect.Parameter.empty
    ]
    if parts:
        yield f"{INDENT}parts: {', '.join(parts)}"
    source = re.search(r"Source: (.*?https?://\S+[^\s.;,])", text, re.DOTALL)
    if source:
        yield INDENT + " ".join(source[1].split())


def class_names(module: ModuleType, kind: type) -> list[str]:
    """Return the names of a module's public classes of a kind that are choices."""
    public = {name: getattr(module, name) for name in module.__all__}
    classes = {name: part for name, part in public.items() if inspect.isclass(part)}
    kinds = {n: c for n, c in classes.items() if issubclass(c, kind) and c is not kind}
    return [name for name, part in kinds.items() if is_choice(part)]
