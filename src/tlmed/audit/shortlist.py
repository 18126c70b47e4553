"""Which pictures of many might be copies of each other: a perceptual hash, near-linear in their number.

Each thumbnail becomes a few numbers in which the pictures of this set differ much more than a picture differs from its
own crops and brighter copies (Fisher's linear discriminant, learnt from random ones). Forests of random median splits
then bring near neighbours together without comparing all with all (Dasgupta & Freund, Random projection trees and low
dimensional manifolds, STOC 2008).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

MAX_CROP = 0.08  # of an edge that a copy may lack
COARSE_SIZE = 16  # the edge to which thumbnails are averaged for the hash

_NUM_DIRECTIONS = 24
_NUM_LEARNT_FROM = 2000
_NUM_LEARNT_COPIES, _MOST_COPIES_EACH = 6000, 100
# What else copies differ by (compression, resampling), as a share of the picture's own norm in all 256 pixels.
_NOISE = 0.02
_CROP_MARGIN = 1.25  # the largest crops are few among random ones
_GAINS = (0.7, 1.4)  # of brightness, which leaves white where it overflows
_COVERED_COPIES, _ALLOWANCE = 0.999, 1.6
_NUM_TREES = 24
_LEAF_SIZE = 48
_NUM_NEIGHBOURS = 8
_MIN_DEVIATION = 1.0  # grey levels; below it a thumbnail shows nothing that could be compared
_IMAGES_AT_ONCE = 4096
_FEW = 64  # so many that all pairs may be listed


def shortlist_pairs(thumbnails: NDArray[np.uint8], *, seed: int = 0) -> Integers:
    """Return the (P, 2) pairs of thumbnails, the smaller index first, that are as alike as a picture and its copies.

    Each thumbnail is paired with the nearest few at most, so that P grows as their number. Pictures without any
    contrast are in no pair.

    Args:
        thumbnails: (N, S, S) grey, squashed to a square.
        seed: of the crops and the splits; equal seeds give equal pairs.
    """
    coarse, has_contrast = coarse_thumbnails(thumbnails)
    members = np.flatnonzero(has_contrast)
    if len(members) <= _FEW:
        return np.asarray(members[np.stack(np.triu_indices(len(members), 1), axis=1)], dtype=np.int64)
    generator = np.random.default_rng(seed)
    learnt_from = members[generator.permutation(len(members))[:_NUM_LEARNT_FROM]]
    discriminant = _learn_discriminant(thumbnails[learnt_from], coarse[learnt_from], generator)
    hashes = (coarse[members] @ discriminant.directions).astype(np.float32)
    return np.asarray(members[_near_pairs(hashes, discriminant, generator)])


def coarse_thumbnails(thumbnails: NDArray[np.uint8]) -> tuple[Floats, NDArray[np.bool_]]:
    """Return (N, 256) averages of mean 0 and norm 1, and which thumbnails have any contrast."""
    coarse = np.empty((len(thumbnails), COARSE_SIZE**2), dtype=np.float32)
    pooling = resampling(thumbnails.shape[1], COARSE_SIZE, 0.0, 1.0)
    for start in range(0, len(thumbnails), _IMAGES_AT_ONCE):
        some = thumbnails[start : start + _IMAGES_AT_ONCE].astype(np.float32)
        coarse[start : start + len(some)] = (pooling @ some @ pooling.T).reshape(len(some), -1)
    deviation = coarse.std(axis=1)
    return _normalised(coarse), deviation >= _MIN_DEVIATION


def resampling(from_size: int, to_size: int, low: ArrayLike, high: ArrayLike) -> Floats:
    """(..., to_size, from_size) weights that average the part [low, high] of an edge to `to_size` equal pixels."""
    starts, lengths = np.asarray(low)[..., None], np.subtract(high, low)[..., None]
    ends = starts + lengths * np.arange(to_size + 1) / to_size
    edges = np.arange(from_size + 1) / from_size
    overlap = np.minimum(ends[..., 1:, None], edges[1:]) - np.maximum(ends[..., :-1, None], edges[:-1])
    weights = np.clip(overlap, 0, None)
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class _Discriminant:
    """Directions in which pictures differ and copies do not.

    Attributes:
        directions: (256, D), scaled such that copies differ by about 1 in each.
        radius: a good deal more than the distance that nearly all copies keep.
    """

    directions: Floats
    radius: float


def _learn_discriminant(thumbnails: NDArray[np.uint8], coarse: Floats, generator: np.random.Generator) -> _Discriminant:
    from scipy.linalg import eigh

    copies_each = min(_MOST_COPIES_EACH, -(-_NUM_LEARNT_COPIES // len(coarse)))
    changes = np.concatenate([_random_copies(thumbnails, generator) - coarse for _ in range(copies_each)])
    within = changes.T @ changes / len(changes) + np.eye(coarse.shape[1]) * _NOISE**2 / coarse.shape[1]
    centred = coarse - coarse.mean(axis=0)
    between = centred.T @ centred / len(centred)
    _, directions = eigh(between.astype(np.float64), within.astype(np.float64))  # the most telling are the last
    kept = directions[:, ::-1][:, :_NUM_DIRECTIONS].astype(np.float32)
    # From copies that nothing was learnt from: few pictures would be fitted too closely.
    fresh = np.concatenate([_random_copies(thumbnails, generator) - coarse for _ in range(copies_each)])
    radius = _ALLOWANCE * np.quantile(np.linalg.norm(fresh @ kept, axis=1), _COVERED_COPIES)
    return _Discriminant(kept, float(radius))


def _random_copies(thumbnails: NDArray[np.uint8], generator: np.random.Generator) -> Floats:
    """(N, 256) of one copy of each thumbnail: edges cropped by up to MAX_CROP, brighter or darker."""
    num, size, _ = thumbnails.shape
    lengths = 1 - generator.uniform(0, _CROP_MARGIN * MAX_CROP, (2, num))
    lows = (1 - lengths) * generator.random((2, num))
    rows, columns = resampling(size, COARSE_SIZE, lows, lows + lengths)
    gains = generator.uniform(*_GAINS, (num, 1, 1)).astype(np.float32)
    brightened = np.minimum(thumbnails * gains, np.float32(255))
    return _normalised((rows @ brightened @ columns.transpose(0, 2, 1)).reshape(num, -1))


def _normalised(rows: Floats) -> Floats:
    centred = rows - rows.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(norms, 1e-6), dtype=np.float32)


def _near_pairs(hashes: Floats, discriminant: _Discriminant, generator: np.random.Generator) -> Integers:
    """(P, 2) indices of hashes that some tree puts side by side, nearer than the radius and of the nearest few."""
    num = len(hashes)
    codes: list[NDArray[Any]] = []
    for _ in range(_NUM_TREES if num > _LEAF_SIZE else 1):
        found = [
            _neighbours(hashes, leaves, discriminant.radius) for leaves in _leaves(hashes, discriminant, generator)
        ]
        codes.append(np.unique(np.concatenate(found)))
    pairs = np.stack(np.divmod(np.unique(np.concatenate(codes)), num), axis=1)
    distances = np.linalg.norm(hashes[pairs[:, 0]] - hashes[pairs[:, 1]], axis=1)
    nearest = _of_the_nearest(pairs[:, 0], distances)  # both directions are among the pairs
    kept = np.sort(pairs[nearest], axis=1)
    return np.asarray(np.unique(kept, axis=0), dtype=np.int64)


def _leaves(hashes: Floats, discriminant: _Discriminant, generator: np.random.Generator) -> Iterator[Integers]:
    """Yield (L, M) members of a tree's leaves, some at a time; what is -1 fills up."""
    num = len(hashes)
    depth = max(0, int(np.ceil(np.log2(num / _LEAF_SIZE))))
    width = -(-num // 2**depth) * 2**depth
    order = np.full((1, width), -1, dtype=np.int64)
    order[0, :num] = np.arange(num)
    for _ in range(depth):
        direction = generator.normal(size=(hashes.shape[1],)).astype(np.float32)
        positions = np.append(hashes @ direction, np.float32(np.inf))  # what fills up goes to the end
        half = order.shape[1] // 2
        ranked = np.argpartition(positions[order], half - 1, axis=1)
        order = np.take_along_axis(order, ranked, axis=1).reshape(2 * len(order), half)
    step = max(1, 2_000_000 // order.shape[1] ** 2)
    yield from (order[start : start + step] for start in range(0, len(order), step))


def _neighbours(hashes: Floats, leaves: Integers, radius: float) -> Integers:
    """Codes `i * N + j`, i and j of one leaf and nearer than the radius, of each i the nearest few."""
    members = hashes[leaves]
    squares = np.where(leaves >= 0, (members**2).sum(axis=2), np.float32(np.inf))
    distances = squares[:, :, None] + squares[:, None, :] - 2 * members @ members.transpose(0, 2, 1)
    distances[:, np.arange(leaves.shape[1]), np.arange(leaves.shape[1])] = np.inf
    count = min(_NUM_NEIGHBOURS, leaves.shape[1] - 1)
    nearest = np.argpartition(distances, count - 1, axis=2)[:, :, :count]
    is_near = np.take_along_axis(distances, nearest, axis=2) <= radius**2
    others = np.take_along_axis(np.broadcast_to(leaves[:, None, :], distances.shape), nearest, axis=2)
    codes = leaves[:, :, None] * len(hashes) + others
    return np.asarray(np.concatenate([codes[is_near], (others * len(hashes) + leaves[:, :, None])[is_near]]))


def _of_the_nearest(owners: Integers, distances: Floats) -> Integers:
    """Positions of the pairs that are among the nearest few of their owner."""
    order = np.lexsort((distances, owners))
    sorted_owners = owners[order]
    starts = np.searchsorted(sorted_owners, sorted_owners, side="left")
    return np.asarray(order[np.arange(len(order)) - starts < _NUM_NEIGHBOURS])
