"""Wavelet captioners: front ends of wavelet coefficients (and their controls of patches) before a language model."""
