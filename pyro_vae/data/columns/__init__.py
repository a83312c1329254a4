"""The columns of a table: kinds, categories, missing values, and the arguments of a model."""
