"""The bundled mini benchmarks: a seeded generator and its committed output in the official layouts."""
