"""Trains the wavelet family and the nano zoo from a recipe, and writes a checkpoint with its model card."""
