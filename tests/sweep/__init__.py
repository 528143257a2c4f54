"""Sweeps: points, merged plans, results."""
