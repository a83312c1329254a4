"""A start that is mixed over all symmetric copies of its draws."""

import math
from collections.abc import Iterator, Mapping

import torch
from pyro import poutine
from torch import Tensor
from torch.distributions.transforms import IndependentTransform, Transform

from pyro_vae.errors import InputError
from pyro_vae.inference.annealing.paths import AnnealingPath
from pyro_vae.program.symmetry import Symmetries, copied, copies, names_of
from pyro_vae.program.trace import latent_sites
from pyro_vae.program.unconstrained import Placement, bijection


class Symmetrized(AnnealingPath):
    """The path from mean_s start(s u) |ds u / du|, with all maps s of some symmetries, to the same end.

    A start that sits on one of several modes that are alike then reaches all of them.

    Args:
        path: the path from the start by itself, of latents that all data share.
        symmetries: of the model.

    Raises:
        InputError: the path's coordinates are not those of the latents.
    """

    def __init__(self, path: AnnealingPath, symmetries: Symmetries) -> None:
        self.bound_program, self.coordinates = path.bound_program, path.coordinates
        self.path, self.symmetries = path, symmetries
        sites = latent_sites(self.bound_program.model(1))
        self.to_support: Mapping[str, Transform] = {
            name: bijection(name, sites[name]["fn"]) for name in names_of(symmetries)
        }
        others = self.to_support.keys() - self.coordinates.blocks.keys()
        if others:
            raise InputError(
                "symmetrize needs a guide that draws the latents themselves, and this one maps another "
                "draw onto them",
                subject=min(others),
                remedy="start from the prior, which has all copies, or use Importance(symmetrize=True)",
            )

    def draw(self, num_chains: int) -> Tensor:
        u = self.path.draw(num_chains)
        every = torch.stack([v for v, _ in self._copies(u)])  # (copies, K, U, D)
        which = torch.randint(len(every), (num_chains,), device=u.device)
        return every[which, torch.arange(num_chains, device=u.device)]

    def log_densities(self, u: Tensor) -> tuple[Tensor, Tensor]:
        logs, (_, end) = [], self.path.log_densities(u)
        for v, log_det in self._copies(u):
            logs.append(self.path.log_densities(v)[0] + log_det)
        return torch.stack(logs).logsumexp(0) - math.log(len(logs)), end

    def coordinates_of(self, latents: poutine.Trace) -> Tensor:
        return self.path.coordinates_of(latents)

    def _copies(self, u: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all copies of coordinates (K, 1, D), and the log-determinants of their maps, (K, 1)."""
        values, before = self._values(u)
        for copy in copies(self.symmetries):
            moved, after = self._coordinates(u, copied(values, self.symmetries, copy))
            yield moved, before - after

    def _values(self, u: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return what the maps move, ``K | plates | event``, and the log-Jacobian there, (K, 1)."""
        values, log_det = dict[str, Tensor](), u.new_zeros(u.shape[:2])
        for name, to_support in self.to_support.items():
            block = self.coordinates.blocks[name]
            raw = u[:, 0, block.columns].reshape(len(u), *block.plates, *block.event)
            values[name] = to_support(raw.to(block.dtype))
            log_det = log_det + _log_det(to_support, raw, values[name])
        return values, log_det

    def _coordinates(self, u: Tensor, values: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return coordinates with these latents in them, and the log-Jacobian there."""
        parts, log_det = list[Tensor](), u.new_zeros(u.shape[:2])
        for name, block in self.coordinates.blocks.items():
            if name not in self.to_support:
                parts.append(u[..., block.columns])
                continue
            raw = self.to_support[name].inv(values[name])
            log_det = log_det + _log_det(self.to_support[name], raw, values[name])
            parts.append(raw.reshape(len(u), 1, -1).to(u.dtype))
        return torch.cat(parts, -1), log_det

    def _draw(self, num_chains: int) -> Tensor:
        return self.draw(num_chains)

    def _log_densities(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return self.log_densities(u)

    def _trace_at(self, placement: Placement, num_chains: int) -> poutine.Trace:
        return self.path._trace_at(placement, num_chains)


def _log_det(to_support: Transform, raw: Tensor, value: Tensor) -> Tensor:
    """Return the log-Jacobian of a latent's map onto its support, summed to (K, 1)."""
    while isinstance(to_support, IndependentTransform):
        to_support = to_support.base_transform
    return to_support.log_abs_det_jacobian(raw, value).flatten(1).sum(1, keepdim=True)
