"""What SVI maximises, one objective a file."""

from pyro_vae.inference.objectives.tempered import Tempered as Tempered
from pyro_vae.inference.objectives.trace_elbo import TraceELBO as TraceELBO
