"""A harness plugin: one model family and its card."""
