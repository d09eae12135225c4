"""Tests of ``bayes_tsl.live.trainers`` with the real libraries, in an environment of their own: ``make test-trainers``."""
