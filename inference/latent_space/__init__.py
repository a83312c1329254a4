"""Move through the latent space: where rows lie in it, paths between them, one latent at a time."""
