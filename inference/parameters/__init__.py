"""What data say about learnt parameters: maximum likelihood, with standard errors."""
