"""What a picture shows."""

from dataclasses import dataclass


@dataclass(frozen=True)
class View:
    """Choose what a picture shows: of each node and plate besides its name, and of a long loop."""

    distributions: bool = True
    numbers: bool = True  # of constants among a distribution's parameters
    shapes: bool = True
    constraints: bool = False
    sizes: bool = True  # of plates
    every_step: bool = False  # of a loop longer than a page
    every_latent: bool = False  # of those that a guide draws together
