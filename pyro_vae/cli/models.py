"""``pyro-vae models``: the models that come with pyro_vae."""

from collections.abc import Sequence

import pyro_vae.models
from pyro_vae.cli.arguments import new_parser, read
from pyro_vae.cli.console import note, table


def main(words: Sequence[str]) -> int:
    parser = new_parser("models", "Lists the models that --model can name.", ["pyro-vae models"])
    read(parser, words)
    stories = [
        (name, (getattr(pyro_vae.models, name).__doc__ or "").split("\n")[0])
        for name in pyro_vae.models.__all__
    ]
    print(table([("NAME", "STORY"), *stories]))
    note(
        "and MODULE.CLASS, a class of your own with .model and .guide; a model's options: "
        "pyro-vae fit --model NAME --help"
    )
    return 0
