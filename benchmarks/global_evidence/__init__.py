"""Thirty programs with global latents, and their evidences by other means."""
