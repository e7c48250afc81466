"""Plan, ask, resume, score, seal: the data flow from specs to a sealed run."""
