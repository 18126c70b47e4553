"""What a licence of weights should make its user think of, before a result is built on it."""

from __future__ import annotations

import re

# Words of licence names, as hubs and SPDX write them: CC-BY-NC-4.0, "fair-noncommercial-research-license".
_NON_COMMERCIAL = re.compile(r"\bnc\b|non[- _]?commercial|\bresearch\b|\bacademic\b", re.IGNORECASE)
_NOT_STATED = ("", "other", "unknown", "unlicensed", "none")


def licence_concern(licence: str | None, *, gated: bool = False) -> str | None:
    """Say what speaks against using weights as one likes; None where nothing is known to.

    It reads the licence's name alone and is no legal advice.

    Args:
        licence: as its publisher names it.
        gated: whether the publisher gives access on conditions.
    """
    concerns = []
    if licence is None or licence.strip().lower() in _NOT_STATED:
        concerns.append("the licence is not known: ask the publisher before using what was trained from these weights")
    elif _NON_COMMERCIAL.search(licence):
        concerns.append("the licence rules out commercial use, or allows research alone")
    if gated:
        concerns.append("the publisher gives access on conditions, which whoever uses or passes them on must keep")
    return "; ".join(concerns) or None
