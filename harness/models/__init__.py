"""What answers: the base protocol, one module per family, controls and wrappers."""
