"""The command line ``bayes-tsl``: commands, what their options mean, and the files that they write.

The entry point is ``bayes_tsl.cli.main.main``; no other package imports from here.
"""
