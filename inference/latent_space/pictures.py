"""Paths and moves as pictures."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from torch import Tensor

from pyro_vae import plots
from pyro_vae.data import Column
from pyro_vae.inference.latent_space.file_units import InFile
from pyro_vae.inference.latent_space.interpolation import Interpolation
from pyro_vae.inference.latent_space.traversal import Traversal


def picture_of_path(found: Interpolation) -> Figure:
    """Draw the steps of a path with their evidence and prior density."""
    site = main_site(found.means)
    curves = []
    if found.log_evidence is not None:
        name = "$\\log\\, p(x')$ (nats)"
        curves.append(
            plots.Curve(name, found.log_evidence, found.standard_error, found.evidence_of_rows)
        )
    if found.log_prior is not None:
        curves.append(plots.Curve("$\\log\\, p(z)$ (nats)", found.log_prior))
    return plots.path(found.means[site], curves, _columns(found.in_file, site))


def picture_of_moves(found: Traversal, most: int) -> Figure:
    """Draw the moves that change the data most."""
    site = main_site(found.means)
    levels = [f"{100 * level:.0f} %" for level in found.levels.tolist()]
    count = min(most, len(found.moves))
    left = f"; {count} of {len(found.moves)} moves" if count < len(found.moves) else ""
    return plots.moves(
        found.means[site][:count],
        found.moves[:count],
        levels,
        _columns(found.in_file, site),
        f"row {found.row}, one latent at a time{left}",
    )


def main_site(means: Mapping[str, Tensor]) -> str:
    """Return the name of the observed site with the most numbers."""
    return max(means, key=lambda name: means[name][0].numel())


def _columns(in_file: Mapping[str, InFile], site: str) -> tuple[Column, ...] | None:
    return in_file[site].columns
