from __future__ import annotations

from pathlib import Path

from PIL import Image

from tlmed.data.image_headers import read_image_headers


def test_headers_say_size_mode_and_the_true_format(tmp_path: Path) -> None:
    Image.new("L", (8, 4)).save(tmp_path / "a.png")
    Image.new("RGB", (5, 10)).save(tmp_path / "named wrongly.png", format="JPEG")
    found = read_image_headers([tmp_path / "a.png", tmp_path / "named wrongly.png"])
    assert found.to_dict("records") == [
        {"width": 8, "height": 4, "ratio": 2.0, "mode": "L", "format": "PNG"},
        {"width": 5, "height": 10, "ratio": 0.5, "mode": "RGB", "format": "JPEG"},
    ]
