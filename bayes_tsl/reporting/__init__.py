"""One page that answers a planner's questions: its numbers and sentences as a tree, and the HTML made of that tree.

Import ``Report`` and ``report`` from here. The command line prints and saves the same content.
"""

from bayes_tsl.reporting.page import Report, report

__all__ = [
    "Report",
    "report",
]
