"""Tests of ``bayes_tsl.live``."""
