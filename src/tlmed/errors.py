"""What goes wrong through the input: one clear sentence, exit code 1, no traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

NUM_NAMED = 3  # examples in a message


class InputError(Exception):
    """The input is at fault. The message says what, where, and what to do about it."""


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Return " Did you mean 'X'?" for the valid name nearest to `name`, else the list of valid names.

    Always begins with a space, so that it can be appended to a sentence.
    """
    names = sorted(set(valid))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f" Did you mean {close[0]!r}?"
    return f" Valid: {', '.join(names)}." if names else ""


def name_some(names: Iterable[object]) -> str:
    """Return the first three names, and how many more there are."""
    listed = [str(name) for name in names]
    more = f" and {len(listed) - NUM_NAMED} more" if len(listed) > NUM_NAMED else ""
    return ", ".join(listed[:NUM_NAMED]) + more
