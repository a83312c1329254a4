"""Hamiltonian Monte Carlo along a path, and its parts."""
