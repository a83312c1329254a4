"""What the guide says of the latents: diagnostics and imputation."""
