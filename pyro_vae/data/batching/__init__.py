"""Batches of tensors, splits, torch data sets and data loaders."""
