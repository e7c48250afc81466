"""Runs on disk: an append-only journal while running, one sealed record after."""
