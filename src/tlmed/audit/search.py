"""What is found by looking at the pictures of a domain; remembered in the store by all that determines it."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tlmed.audit.copies import NO_COPIES, groups_of_copies
from tlmed.audit.findings import Finding
from tlmed.audit.thumbnails import Thumbnails, make_thumbnails, thumbnails_key
from tlmed.data.manifest import Manifest
from tlmed.runtime.store import Store, content_key, write_json_durably

log = logging.getLogger(__name__)

AUDITS = "audits"
# Raised whenever a change of the code changes what is found in the same pictures.
_SEARCH_VERSION, _PROBES_VERSION = 1, 3
_FOUND = "found.json"


class PictureSearch:
    """The pictures of one domain; they are decoded only where something is not remembered.

    Args:
        domain: table with `digest`.
        store: keeps thumbnails and what was found.
        name: of the domain, for messages.
        value_range: of pixels deeper than 8 bits, as in `ImageSettings`.
        seed: of all that is drawn; equal seeds find the same.
    """

    def __init__(
        self,
        domain: Manifest,
        store: Store,
        name: str,
        *,
        value_range: tuple[float, float] | None = None,
        seed: int = 0,
    ) -> None:
        self._table, self._store, self._name, self._value_range, self._seed = (
            domain.table,
            store,
            name,
            value_range,
            seed,
        )
        self._digests: list[str] = sorted(set(domain.table["digest"]))
        self._knows_groups = domain.group_column is not None
        self.keys: list[str] = []  # of what was found, under the kind `audits`

    @property
    def thumbnails_key(self) -> str:
        """Of its thumbnails, under the kind `images`."""
        return thumbnails_key(self._digests, self._value_range)

    @cached_property
    def _thumbnails(self) -> Thumbnails:
        """Of the sorted digests."""
        file_of = dict(zip(self._table["digest"], self._table["file"], strict=True))
        files = [Path(file_of[digest]) for digest in self._digests]
        return make_thumbnails(files, self._digests, self._store, value_range=self._value_range)

    @cached_property
    def _within(self) -> dict[str, Any]:
        groups = self._groups() if self._knows_groups else None
        return self._remembered(
            {"search": _SEARCH_VERSION, "pictures": self.thumbnails_key, "groups": groups, "seed": self._seed},
            lambda: self._search(groups),
        )

    @property
    def unreadable(self) -> dict[str, str]:
        """From the digest of a file to the reason."""
        return dict(self._within["unreadable"])

    @property
    def copies(self) -> pd.DataFrame:
        """Near-duplicates: digest_1, digest_2, correlation."""
        return _as_table(self._within["pairs"])

    def copies_in(self, other: PictureSearch) -> pd.DataFrame:
        """Which files of another domain are near-duplicates of which here: digest_1 (here), digest_2, correlation."""
        found = self._remembered(
            {
                "search": _SEARCH_VERSION,
                "between": [self.thumbnails_key, other.thumbnails_key],
                "seed": self._seed,
            },
            lambda: self._search_in(other),
        )
        return _as_table(found["pairs"])

    def shortcuts(self, table: pd.DataFrame, copies: pd.DataFrame) -> list[Finding]:
        """How well the class is told without the disease (`probe_shortcuts`).

        Args:
            table: rows of this domain.
            copies: near-duplicates; groups that share a picture are probed as one.
        """
        rows = table.drop(columns="file").to_csv(index=False)
        found = self._remembered(
            {
                "probes": _PROBES_VERSION,
                "name": self._name,
                "rows": hashlib.sha256(rows.encode()).hexdigest(),
                "range": self._value_range,
                "copies": copies[["digest_1", "digest_2"]].to_numpy().tolist(),
                "seed": self._seed,
            },
            lambda: self._probe(table, copies),
        )
        return [Finding(**{**one, "paths": tuple(one["paths"])}) for one in found["findings"]]

    def _groups(self) -> list[int]:
        """A number for the group of each of the sorted digests, whatever the groups are called."""
        first = self._table.drop_duplicates("digest").set_index("digest")["group"]
        return [int(code) for code in pd.factorize(first.loc[self._digests])[0]]

    def _search(self, groups: list[int] | None) -> dict[str, Any]:
        from tlmed.audit.duplicates import find_near_duplicates

        thumbnails = self._thumbnails
        log.info("%s: looking for near-duplicates among %d pictures", self._name, len(self._digests))
        positions = self._readable
        known = None if groups is None else np.array(groups)[positions]
        found = find_near_duplicates(thumbnails.pixels[positions], known, seed=self._seed)
        return {
            "pairs": [
                [self._digests[positions[first]], self._digests[positions[second]], float(correlation)]
                for (first, second), correlation in zip(found.pairs, found.correlations, strict=True)
            ],
            "unreadable": thumbnails.unreadable,
        }

    def _search_in(self, other: PictureSearch) -> dict[str, Any]:
        from tlmed.audit.duplicates import find_copies_between

        log.info("%s: looking for near-duplicates of images of %s", other._name, self._name)
        shared = set(self._digests) & set(other._digests)
        mine, theirs = (
            [position for position in one._readable if one._digests[position] not in shared] for one in (self, other)
        )
        found = find_copies_between(self._thumbnails.pixels[mine], other._thumbnails.pixels[theirs], seed=self._seed)
        return {
            "pairs": [
                [self._digests[mine[first]], other._digests[theirs[second]], float(correlation)]
                for (first, second), correlation in zip(found.pairs, found.correlations, strict=True)
            ]
        }

    def _probe(self, table: pd.DataFrame, copies: pd.DataFrame) -> dict[str, Any]:
        from tlmed.audit.shortcuts import probe_shortcuts

        log.info("%s: looking for shortcuts", self._name)
        position_of = {digest: position for position, digest in enumerate(self._digests)}
        thumbnails = self._thumbnails.take(np.array([position_of[digest] for digest in table["digest"]], dtype=int))
        groups = groups_of_copies(table, copies)
        findings = probe_shortcuts(table, thumbnails, name=self._name, groups=groups, seed=self._seed)
        return {"findings": [asdict(finding) for finding in findings]}

    @property
    def _readable(self) -> list[int]:
        return [position for position, one in enumerate(self._digests) if one not in self._thumbnails.unreadable]

    def _remembered(self, what: dict[str, Any], find: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        key = content_key(what)
        self.keys.append(key)
        if not self._store.is_complete(AUDITS, key):
            with self._store.publish(AUDITS, key) as folder:
                if not self._store.is_complete(AUDITS, key):
                    write_json_durably(folder / _FOUND, find())
        found: dict[str, Any] = json.loads((self._store.folder(AUDITS, key) / _FOUND).read_text(encoding="utf-8"))
        return found


def _as_table(pairs: list[list[Any]]) -> pd.DataFrame:
    return pd.DataFrame(pairs, columns=list(NO_COPIES.columns)).astype(NO_COPIES.dtypes.to_dict())
