"""Runs drawn from the model, whose truth is known."""
