"""The evidence of each unit: one method a file, the driver and the result."""
