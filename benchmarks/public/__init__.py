"""Forecasts and choices on loss curves that others have published."""
