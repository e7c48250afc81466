"""Arrays in, numbers out: intervals over clusters."""
