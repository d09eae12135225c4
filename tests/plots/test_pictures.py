"""Pictures of the docs are those that today's code draws, and every one that a page shows is there."""

from __future__ import annotations

import pytest
from PIL import Image

from benchmarks import pictures
from benchmarks.common import IMAGES

NAMES = [picture.__name__ for picture in pictures.PICTURES]
ELSEWHERE = {"report"}  # drawn by a browser


@pytest.mark.parametrize("name", NAMES)
def test_no_picture_is_older_than_the_code_that_draws_it(name: str) -> None:
    with Image.open(IMAGES / f"{name}.png") as image:
        assert image.text.get(pictures.DIGEST) == pictures.digest(name), "run python -m benchmarks.pictures"
    assert (IMAGES / f"{name}.svg").is_file()


def test_one_command_draws_every_picture() -> None:
    assert {path.stem for path in IMAGES.glob("*.png")} == {*NAMES, *ELSEWHERE}


def test_a_digest_is_of_the_code_alone() -> None:
    plain = pictures.code_of('"""What it is."""\nx = 1\n')
    assert pictures.code_of('"""Another\nword."""\n# a comment\n\nx  =  1\n') == plain
    assert pictures.code_of("x = 2\n") != plain
