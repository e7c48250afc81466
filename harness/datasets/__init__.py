"""Where samples come from: one module per benchmark, one reader for the bundled, official and hub forms each."""
