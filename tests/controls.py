"""When a fit compiles, in tests."""

from pyro_vae.inference.svi.run_control import RunControl

GRAPHS = RunControl(steps_worth_a_graph=0, steps_worth_inductor=10**9)  # nothing of Inductor
