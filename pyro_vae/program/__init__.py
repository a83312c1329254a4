"""Programs: the contract, one run of a program, and how it is read, scored and probed."""
