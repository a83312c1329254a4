"""Fit any Pyro model and guide, know its evidence, see its graph."""
