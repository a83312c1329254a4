"""Which data a model finds strange: one score a file, the driver, calibration and the result."""
