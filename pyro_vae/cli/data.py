"""``pyro-vae data``: what can be loaded, and what is there."""

from collections.abc import Sequence

from pyro_vae.cli.arguments import new_parser, read
from pyro_vae.cli.console import note, table
from pyro_vae.data import ROOT_VARIABLE, available
from pyro_vae.data.loading import ENDINGS


def main(words: Sequence[str]) -> int:
    parser = new_parser("data", "Lists the data sets that --data can name.", ["pyro-vae data"])
    parser.add_argument(
        "--data_root", type=str | None, help=f"where to look; by default {ROOT_VARIABLE}"
    )
    options = read(parser, words)
    print(table([("NAME", "WHAT", "WHERE"), *available(options.data_root)]))
    note(
        "and any path: a folder of images (with train/ and test/ or class folders, or none), "
        f"{', '.join(ENDINGS)} (text also packed, .csv.gz)"
    )
    return 0
