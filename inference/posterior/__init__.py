"""Draws of the latents, from the prior and given the data, and what is made of them."""
