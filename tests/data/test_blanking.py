from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tlmed.data.blanking import BLANK_LEVEL, blanked
from tlmed.data.images import read_image
from tlmed.recipe.model import ImageSettings

PICTURE = np.random.default_rng(0).integers(0, 100, (3, 40, 40), dtype=np.uint8)


def test_border_only_keeps_the_outer_eighth_and_hides_all_else_alike() -> None:
    seen = blanked(PICTURE, "border-only")
    inside = np.zeros((40, 40), dtype=bool)
    inside[5:35, 5:35] = True
    assert (seen[:, inside] == BLANK_LEVEL).all()
    assert np.array_equal(seen[:, ~inside], PICTURE[:, ~inside])
    assert not np.shares_memory(seen, PICTURE)


def test_centre_blanked_hides_the_middle_three_fifths() -> None:
    seen = blanked(PICTURE, "centre-blanked")
    assert (seen == BLANK_LEVEL).sum() == 3 * 24 * 24
    assert np.array_equal(seen[:, :8], PICTURE[:, :8])


def test_images_are_read_blanked_where_the_settings_say_so(tmp_path: Path) -> None:
    Image.fromarray(PICTURE[0]).save(tmp_path / "a.png")
    plain = read_image(tmp_path / "a.png", ImageSettings(size=40))
    hidden = read_image(tmp_path / "a.png", ImageSettings(size=40, blanking="border-only"))
    assert np.array_equal(hidden, blanked(plain, "border-only"))
    assert not np.array_equal(hidden, plain)


def test_settings_without_blanking_are_written_as_before_it_existed() -> None:
    assert "blanking" not in ImageSettings().model_dump(mode="json")
    assert ImageSettings(blanking="border-only").model_dump(mode="json")["blanking"] == "border-only"
