"""What a picture shows."""

from dataclasses import dataclass


@dataclass(frozen=True)
class View:
    """What a picture says of each node and plate beside its name."""

    distributions: bool = True
    shapes: bool = True
    constraints: bool = False
    sizes: bool = True  # of plates
