"""Draws, trains and measures the tiny LLaVA in ``recipes/assets``; no part of the package."""
