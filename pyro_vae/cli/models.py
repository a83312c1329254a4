"""``pyro-vae models``: the shelf, and the parts that a model can be composed of."""

import inspect
import re
from collections.abc import Iterator, Sequence
from types import ModuleType

from pyro.infer import ELBO

import pyro_vae.models
from pyro_vae import flows, guides, item_models, likelihoods, networks, priors
from pyro_vae.cli.options.parser import new_parser, read
from pyro_vae.cli.output.console import note
from pyro_vae.inference import objectives
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
    "--beta": (objectives, objectives.Schedule),
}
INDENT = "    "


def main(words: Sequence[str]) -> int:
    parser = new_parser("models", "Lists the models that --model can name.", ["pyro-vae models"])
    read(parser, words)
    for name in pyro_vae.models.__all__:
        print("\n".join(described(name, getattr(pyro_vae.models, name))))
    print("\nParts, by their names or in Python")
    for option, (module, kind) in PARTS.items():
        print(f"{INDENT}{option}: {', '.join(parts_in(module, kind))}")
    note(
        "\nand MODULE.CLASS, a class of your own with .model and .guide; a model's options: "
        "pyro-vae fit --model NAME --help"
    )
    return 0


def described(name: str, model: type) -> Iterator[str]:
    """A model's name, its story, what it is composed of, and the first paper that it names."""
    text = inspect.getdoc(model) or ""
    yield name
    yield INDENT + text.split("\n")[0]
    parts = [
        f"{parameter.name} {parameter.default.__name__}"
        for parameter in inspect.signature(model).parameters.values()
        if inspect.isclass(parameter.default) and parameter.default is not inspect.Parameter.empty
    ]
    if parts:
        yield f"{INDENT}made of: {', '.join(parts)}"
    source = re.search(r"Source: (.*?https?://\S+[^\s.;,])", text, re.DOTALL)
    if source:
        yield INDENT + " ".join(source[1].split())


def parts_in(module: ModuleType, kind: type) -> list[str]:
    """The names of a folder's classes of a kind, but those that only others are built upon."""
    public = {name: getattr(module, name) for name in module.__all__}
    classes = {name: part for name, part in public.items() if inspect.isclass(part)}
    kinds = {n: c for n, c in classes.items() if issubclass(c, kind) and c is not kind}
    return [name for name, part in kinds.items() if not inspect.isabstract(part)]
