"""Near-duplicates: pictures that are one picture, resized, saved anew, slightly cropped, brightened or turned grey."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlmed.audit.shortlist import COARSE_SIZE, MAX_CROP, Floats, Integers, resampling, shortlist_pairs
from tlmed.runtime.hardware import num_cores

# Measured on CT: copies reach 0.95 and more (0.90 where small files were compressed hard), slices 1 to 2 mm apart up to
# 0.95, and slices further apart, or of patients as alike as phantoms, fill the range below. So the lower limit holds
# where nothing fills that range.
MIN_CORRELATION = 0.955
MIN_CORRELATION_WITHOUT_NEIGHBOURS = 0.89
_RANGE_OF_NEIGHBOURS = (0.75, 0.88)
_MAX_SHARE_WITH_NEIGHBOURS = 0.01

_MIN_COARSE_CORRELATION = 0.93
_MEDIUM_SIZE = 32
_MIN_MEDIUM_CORRELATION = 0.8
_SATURATED = 250  # grey level from which on brightening may have cut off
_PAIRS_AT_ONCE = 512
# In pixels of a thumbnail of 64: the band of the fine structure, and the neighbourhood that sets its local scale.
_FINEST, _COARSEST, _NEIGHBOURHOOD = 0.7, 2.5, 4.0
_FLOOR = 0.03  # of the picture's deviation: structure much fainter than this counts for little
_FLOOR_LEVELS = 0.5  # and in grey levels


@dataclass(frozen=True, eq=False)
class NearDuplicates:
    """Pairs of pictures that are copies of each other.

    Attributes:
        pairs: (P, 2) indices, the smaller first.
        correlations: (P,) of their fine structure, aligned.
    """

    pairs: Integers
    correlations: Floats


def find_near_duplicates(
    thumbnails: NDArray[np.uint8], groups: NDArray[Any] | None = None, *, seed: int = 0
) -> NearDuplicates:
    """Find the pictures that are copies of each other, in time that grows nearly as their number.

    A hash shortlists a few pairs for each picture (`shortlist_pairs`). Each pair is aligned, for one may be a crop of
    the other, and their fine structure correlated: what is between about 1 and 3 pixels of a thumbnail, brought to the
    same contrast everywhere, so that neither outline nor brightness counts.

    Of several copies each is in some pair, but not every pair of them need be listed.

    Args:
        thumbnails: (N, S, S) grey, squashed to a square, S about 64; files that are identical given once.
        groups: (N,) the patient or series of each where that is known. Where many pictures have one that is nearly
            alike, as slices have, copies must be more alike; within groups and between them this is told apart.
        seed: of the hash; equal seeds give equal pairs.
    """
    pairs = shortlist_pairs(thumbnails, seed=seed)
    correlations = correlate_pairs(thumbnails, pairs)
    is_within = np.ones(len(pairs), dtype=bool)
    if groups is not None:
        is_within = np.asarray(groups[pairs[:, 0]] == groups[pairs[:, 1]])
    is_copy = np.zeros(len(pairs), dtype=bool)
    for some in (is_within, ~is_within):
        is_copy[some] = correlations[some] >= _min_correlation(pairs[some], correlations[some], len(thumbnails))
    return NearDuplicates(pairs[is_copy], correlations[is_copy])


def find_copies_between(first: NDArray[np.uint8], second: NDArray[np.uint8], *, seed: int = 0) -> NearDuplicates:
    """Find which pictures of one set are copies of which of another, as `find_near_duplicates` does within one.

    Args:
        first, second: (N, S, S) and (M, S, S), without a file that is in both.
        seed: of the hash.

    Returns:
        Pairs of an index of `first` and one of `second`.
    """
    both = np.concatenate([first, second])
    pairs = shortlist_pairs(both, seed=seed)
    pairs = pairs[(pairs[:, 0] < len(first)) & (pairs[:, 1] >= len(first))]
    correlations = correlate_pairs(both, pairs)
    # A small set beside a large one: its neighbours would be few among all pictures.
    is_copy = correlations >= _min_correlation(pairs, correlations, min(len(first), len(second)))
    return NearDuplicates(pairs[is_copy] - np.array([0, len(first)]), correlations[is_copy])


def _min_correlation(pairs: Integers, correlations: Floats, num_pictures: int) -> float:
    """How alike copies must be, by how many pictures have one that is nearly alike without being a copy."""
    low, high = _RANGE_OF_NEIGHBOURS
    with_neighbours = np.unique(pairs[(low <= correlations) & (correlations < high)])
    are_few = len(with_neighbours) <= _MAX_SHARE_WITH_NEIGHBOURS * num_pictures
    return MIN_CORRELATION_WITHOUT_NEIGHBOURS if are_few else MIN_CORRELATION


def correlate_pairs(thumbnails: NDArray[np.uint8], pairs: Integers) -> Floats:
    """(P,) correlations of the fine structure of pairs, aligned; 0 where they differ at the first, coarse look."""
    parts = [pairs[start : start + _PAIRS_AT_ONCE] for start in range(0, len(pairs), _PAIRS_AT_ONCE)]
    with ThreadPoolExecutor(num_cores()) as pool:  # NumPy lets go of the interpreter lock
        correlations = list(pool.map(partial(_correlate_some, thumbnails), parts))
    return np.concatenate([np.zeros(0, dtype=np.float32), *correlations])


def _correlate_some(thumbnails: NDArray[np.uint8], pairs: Integers) -> Floats:
    first, second = _evenly_saturated(thumbnails[pairs[:, 0]], thumbnails[pairs[:, 1]])
    boxes = np.tile(np.array([1, 0, 1, 0], dtype=np.float32), (len(pairs), 1))
    boxes, _ = _align(_pooled(first, COARSE_SIZE, blur=1.0), _pooled(second, COARSE_SIZE, blur=1.0), boxes, 5)
    boxes, coarse = _align(_pooled(first, COARSE_SIZE), _pooled(second, COARSE_SIZE), boxes, 4)
    correlations = np.zeros(len(pairs), dtype=np.float32)
    alike = np.flatnonzero(coarse >= _MIN_COARSE_CORRELATION)
    if len(alike):
        correlations[alike] = _correlate_fine(first[alike], second[alike], boxes[alike])
    return correlations


def _correlate_fine(first: Floats, second: Floats, boxes: Floats) -> Floats:
    """(P,) correlations of the fine structure; the alignment is brought to the end only where it may be a copy's."""
    boxes, _ = _align(_pooled(first, _MEDIUM_SIZE), _pooled(second, _MEDIUM_SIZE), boxes, 3)
    medium = _fine_structure(_pooled(first, _MEDIUM_SIZE)), _fine_structure(_pooled(second, _MEDIUM_SIZE))
    _, correlations = _align(*medium, boxes, 0)
    promising = np.flatnonzero(correlations >= _MIN_MEDIUM_CORRELATION)
    if len(promising):
        fine = _fine_structure(first[promising]), _fine_structure(second[promising])
        _, correlations[promising] = _align(*fine, boxes[promising], 2)
    return correlations


def _evenly_saturated(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """Cut off the brightest of one picture where the other has more white, as brightening does."""
    size = first.shape[1] * first.shape[2]
    ranked = [np.sort(images.reshape(len(images), -1), axis=1) for images in (first, second)]
    num_dark = np.minimum(*((levels < _SATURATED).sum(axis=1) for levels in ranked))
    positions = np.minimum(num_dark, size - 1)[:, None]
    caps = (np.take_along_axis(levels, positions, axis=1)[:, :, None] for levels in ranked)
    evened = [np.minimum(images, cap).astype(np.float32) for images, cap in zip((first, second), caps, strict=True)]
    return evened[0], evened[1]


def _pooled(images: Floats, size: int, blur: float = 0.0) -> Floats:
    """(P, size, size) averages, then smoothed with a Gaussian of `blur` pixels of the result."""
    weights = resampling(images.shape[1], size, 0.0, 1.0)
    if blur > 0:
        weights = _smoothing(size, blur) @ weights
    return np.asarray(weights @ images @ weights.T)


def _smoothing(size: int, deviation: float) -> Floats:
    """(size, size) weights of a Gaussian."""
    positions = np.arange(size)
    weights = np.exp(-0.5 * ((positions[:, None] - positions) / deviation) ** 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def _fine_structure(images: Floats) -> Floats:
    """(P, S, S) band-passed, divided by its local strength."""
    size = images.shape[1]
    fine, coarse, local = (_smoothing(size, width * size / 64) for width in (_FINEST, _COARSEST, _NEIGHBOURHOOD))
    band = fine @ images @ fine.T - coarse @ images @ coarse.T
    strength = local @ band**2 @ local.T
    floor = _FLOOR**2 * images.var(axis=(1, 2), keepdims=True) + _FLOOR_LEVELS**2
    return np.asarray(band / np.sqrt(strength + floor))


def _align(first: Floats, second: Floats, boxes: Floats, num_steps: int) -> tuple[Floats, Floats]:
    """Improve, pair by pair, which part of the second picture shows what the first one shows.

    Gauss-Newton steps on the difference of brightness, up to a gain and an offset (Evangelidis & Psarakis, IEEE Trans
    Pattern Anal Mach Intell 2008;30:1858).

    Args:
        first, second: (P, S, S).
        boxes: (P, 4) scale and shift of rows and of columns; edges run from -1 to 1.
        num_steps: for all pairs alike.

    Returns:
        The best boxes that were seen, and the (P,) correlations there.
    """
    size = first.shape[1]
    places = _places(size)
    best_boxes, best = boxes, np.full(len(first), -2.0, dtype=np.float32)
    for step in range(num_steps + 1):
        warped, inside = _warp(second, boxes)
        target, moved = _centred(first, inside), _centred(warped, inside)
        products = [(a * b).sum(axis=(1, 2)) for a, b in ((target, moved), (moved, moved), (target, target))]
        correlations = products[0] / np.sqrt(np.maximum(products[1] * products[2], 1e-12))
        is_better = correlations > best
        best = np.where(is_better, correlations, best)
        best_boxes = np.where(is_better[:, None], boxes, best_boxes)
        if step == num_steps:
            break
        gain = np.clip(products[0] / np.maximum(products[1], 1e-6), 0.2, 5.0)[:, None, None]
        down, right = (np.asarray(slope * np.float32(size / 2)) for slope in np.gradient(warped, axis=(1, 2)))
        changes: list[Floats] = [down * places[:, None], down, right * places, right]
        jacobian = np.stack([_centred(change, inside) for change in changes], axis=1).reshape(len(first), 4, -1)
        normal = jacobian @ jacobian.transpose(0, 2, 1)
        damping = normal.trace(axis1=1, axis2=2)[:, None, None] * 1e-3 + 1e-6
        pull = jacobian @ (target / gain - moved).reshape(len(first), -1, 1)
        moves = np.linalg.solve(normal + damping * np.eye(4, dtype=np.float32), pull)[:, :, 0]
        boxes = _within_crop(boxes + np.clip(moves, -MAX_CROP, MAX_CROP))
    return best_boxes, best


def _within_crop(boxes: Floats) -> Floats:
    """Keep to what crops of either picture need, and a little more."""
    slack = np.float32(1.5 * MAX_CROP)
    scales = np.clip(boxes[:, [0, 2]], 1 - slack, 1 / (1 - slack))
    shifts = np.clip(boxes[:, [1, 3]], -slack, slack)
    return np.stack([scales[:, 0], shifts[:, 0], scales[:, 1], shifts[:, 1]], axis=1)


def _warp(images: Floats, boxes: Floats) -> tuple[Floats, Floats]:
    """(P, S, S) the boxes of the images, by cubic interpolation (Catmull-Rom); and 1 inside the image, 0 outside."""
    size = images.shape[1]
    rows, in_rows = _interpolation(boxes[:, 0], boxes[:, 1], size)
    columns, in_columns = _interpolation(boxes[:, 2], boxes[:, 3], size)
    warped = np.asarray(rows @ images @ columns.transpose(0, 2, 1), dtype=np.float32)
    return warped, np.asarray(in_rows[:, :, None] * in_columns[:, None, :], dtype=np.float32)


def _interpolation(scales: Floats, shifts: Floats, size: int) -> tuple[Floats, Floats]:
    """(P, S, S) weights of an edge's pixels at `scale * place + shift`, and (P, S) 1 for places inside."""
    at = (scales[:, None] * _places(size) + shifts[:, None] + 1) * np.float32(size / 2) - np.float32(0.5)
    inside = ((at >= -0.5) & (at <= size - 0.5)).astype(np.float32)
    distances = np.abs(np.clip(at, 0, size - 1)[:, :, None] - np.arange(size, dtype=np.float32))
    near = (1.5 * distances - 2.5) * distances**2 + 1
    far = ((2.5 - 0.5 * distances) * distances - 4) * distances + 2
    weights = np.where(distances < 1, near, np.where(distances < 2, far, 0))
    return np.asarray(weights / weights.sum(axis=2, keepdims=True), dtype=np.float32), inside


def _places(size: int) -> Floats:
    """(S,) the centres of an edge's pixels; the edge runs from -1 to 1."""
    return (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / size) - 1


def _centred(images: Floats, inside: Floats) -> Floats:
    """(P, S, S) without the mean of what lies inside, and 0 outside."""
    kept = images * inside
    return np.asarray((kept - kept.sum(axis=(1, 2), keepdims=True) / inside.sum(axis=(1, 2), keepdims=True)) * inside)
