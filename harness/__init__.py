"""A harness that compares vision-language models with the uncertainty of every number."""
