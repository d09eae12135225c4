"""Colours stay apart for people who see red and green alike, and labels do not cover each other."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure

from bayes_tsl.plots.style import AHEAD, LINES, NOTE, PAST, TRUTH, interval_text, label_right

DEUTERANOPIA = np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]])
"""Linear RGB as a deuteranope sees it (Machado, Oliveira & Fernandes 2009, IEEE TVCG 15(6), severity 1)."""
XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])
WHITE = XYZ.sum(axis=1)


def linear(color: str) -> np.ndarray:
    """Linear RGB of a colour in sRGB."""
    values = np.array([int(color[at : at + 2], 16) / 255.0 for at in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB of linear RGB."""
    share = XYZ @ np.clip(rgb, 0.0, 1.0) / WHITE
    x, y, z = np.where(share > (6 / 29) ** 3, np.cbrt(share), share / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("sees", [np.eye(3), DEUTERANOPIA], ids=["all colours", "deuteranopia"])
@pytest.mark.parametrize("together", [(PAST, AHEAD, TRUTH, NOTE), (PAST, *LINES)], ids=["forecast", "lines"])
def test_colours_that_appear_together_stay_apart(together: tuple[str, ...], sees: np.ndarray) -> None:
    for one, other in combinations(together, 2):
        distance = np.linalg.norm(lab(sees @ linear(one)) - lab(sees @ linear(other)))
        assert distance > 18.0, f"{one} and {other} are {distance:.0f} apart"


def test_every_line_can_be_read_on_white() -> None:
    for color in LINES:
        light = float((XYZ @ linear(color))[1])
        assert 1.05 / (light + 0.05) > 2.3, color


def test_labels_that_would_cover_each_other_are_moved_apart() -> None:
    ax = Figure(figsize=(4.0, 3.0)).subplots()
    ax.set(xlim=(0.0, 1.0), ylim=(0.0, 1.0))
    label_right(ax, [(1.0, 0.5, "one\nof two lines", PAST), (1.0, 0.51, "other", AHEAD), (1.0, 0.9, "far", TRUTH)])
    ax.figure.draw_without_rendering()
    boxes = sorted((text.get_window_extent() for text in ax.texts), key=lambda box: box.y0)
    assert all(below.y1 <= above.y0 for below, above in pairwise(boxes))


def test_an_interval_has_the_digits_that_its_width_leaves() -> None:
    assert interval_text(3.50691, 3.418, 3.5799) == "3.507 [3.418, 3.580]"
    assert interval_text(0.0084, -0.0082, 0.0318) == "0.008 [-0.008, 0.032]"
