"""Options: the parser, its error messages, and the options that name data, models and their parts."""
