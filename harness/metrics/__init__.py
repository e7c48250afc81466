"""How answers are scored: per-unit sufficient statistics first, the corpus value from their sums."""
