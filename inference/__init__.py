"""Algorithms, one a file: SVI, importance sampling, and what they are made of."""
