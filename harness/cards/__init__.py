"""A model as a person describes it: schema, loading, search path."""
