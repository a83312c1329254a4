"""Stochastic variational inference: the fit, its loop and its step."""
