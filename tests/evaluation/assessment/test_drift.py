from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest

from tlmed.evaluation.assessment.drift import MAX_IMAGES, compare_input, draw_images, input_features, input_summary

Pixels = np.ndarray


def _pixels(num_images: int, brightness: float = 100, draw: int = 0) -> Pixels:
    generator = np.random.default_rng(draw)
    levels = generator.normal(brightness, 10, size=(num_images, 1, 1, 1))
    return (levels + generator.normal(0, 5, (num_images, 1, 8, 8))).clip(0, 255).astype(np.uint8)


def _headers(num_images: int, width: int = 400, kind: str = "PNG") -> pd.DataFrame:
    return pd.DataFrame(
        {"width": width, "height": 400, "ratio": width / 400, "mode": "L", "format": kind}, index=range(num_images)
    )


def test_the_summary_is_what_numpy_says_and_json_holds_it() -> None:
    pixels = _pixels(50)
    summary = json.loads(json.dumps(input_summary(pixels, _headers(50), [f"p{i // 2}" for i in range(50)])))
    means = pixels.reshape(50, -1).mean(axis=1)
    assert summary["features"]["intensity_mean"]["mean"] == pytest.approx(means.mean())
    assert summary["features"]["intensity_mean"]["std"] == pytest.approx(means.std())
    assert summary["features"]["intensity_mean"]["percentiles"]["95"] == pytest.approx(np.percentile(means, 95))
    assert summary["shares"] == {"format": {"PNG": 1.0}, "mode": {"L": 1.0}}
    assert summary["num_images"] == 50
    assert sorted(set(summary["sample"]["groups"])) == list(range(25))
    assert "p0" not in json.dumps(summary)


def test_images_like_those_of_training_raise_no_warning() -> None:
    summary = input_summary(_pixels(200), _headers(200))
    found = compare_input(summary, input_features(_pixels(100, draw=1), _headers(100)), np.arange(100))
    assert found["warnings"] == []
    assert abs(found["features"]["intensity_mean"]["standardised_difference"]) < 0.5
    assert found["features"]["width"] == {
        "training_mean": 400.0,
        "local_mean": 400.0,
        "standardised_difference": None,
        "share_outside": 0.0,
    }
    apart = found["told_apart"]["auroc"]
    assert apart["low"] is None if apart["value"] < 0.5 else apart["low"] < 0.5 < apart["high"]


def test_the_training_images_themselves_are_not_told_apart_and_have_no_limits_that_say_so() -> None:
    pixels = _pixels(200)
    apart = compare_input(input_summary(pixels), input_features(pixels, None), np.arange(200))["told_apart"]["auroc"]
    assert apart["value"] < 0.5
    assert (apart["low"], apart["high"]) == (None, None)
    assert "lean below 0.5" in apart["no_interval"]


def test_brighter_images_are_told_from_those_of_training() -> None:
    trained, local = _pixels(200), _pixels(100, brightness=130, draw=1)
    found = compare_input(input_summary(trained), input_features(local, None), np.arange(100))
    means = [pixels.reshape(len(pixels), -1).mean(axis=1) for pixels in (trained, local)]
    spread = math.sqrt((means[0].var() + means[1].var()) / 2)
    mean = found["features"]["intensity_mean"]
    assert mean["standardised_difference"] == pytest.approx((means[1].mean() - means[0].mean()) / spread)
    low, high = np.percentile(means[0], [1, 99])
    assert mean["share_outside"] == pytest.approx(((means[1] < low) | (means[1] > high)).mean())
    assert found["told_apart"]["auroc"]["low"] > 0.6
    assert any(sentence.startswith("intensity mean") for sentence in found["warnings"])
    assert any("told apart" in sentence for sentence in found["warnings"])


def test_another_format_and_size_are_named() -> None:
    summary = input_summary(_pixels(60), _headers(60))
    found = compare_input(summary, input_features(_pixels(60), _headers(60, width=200, kind="JPEG")), np.arange(60))
    assert found["shares"]["format"] == {"training": {"PNG": 1.0}, "local": {"JPEG": 1.0}, "shifted": 1.0}
    assert found["features"]["width"]["share_outside"] == 1.0
    assert any(sentence == "format: 100% JPEG here, 100% PNG in training." for sentence in found["warnings"])
    assert any(sentence.startswith("width: 200 here, 400 in training;") for sentence in found["warnings"])


def test_few_groups_are_not_told_apart() -> None:
    found = compare_input(input_summary(_pixels(60)), input_features(_pixels(40), None), np.arange(40) // 4)
    assert found["told_apart"]["auroc"] is None
    assert "10 groups" in found["told_apart"]["too_few"]


def test_of_many_images_some_are_drawn() -> None:
    rows = draw_images(MAX_IMAGES + 1000, seed=1)
    assert len(rows) == len(set(rows.tolist())) == MAX_IMAGES
    assert (np.diff(rows) > 0).all()
    assert draw_images(3).tolist() == [0, 1, 2]


def test_headers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="5 images with 4 headers"):
        input_summary(_pixels(5), _headers(4))
