"""Seconds and memory: of fits, and of collecting losses by position."""
