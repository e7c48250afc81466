"""Models beside each other: what their cards say, where it comes from, and what runs have shown."""
