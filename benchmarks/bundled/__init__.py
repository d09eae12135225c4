"""Forecasts of the runs that the package brings along, by position."""
