"""Names of weights on a hub: `hub:ID`, and the pins that make it one file for ever."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

HUB = "hub"
# No part may begin with a dot, so that an id never leads out of its folder; "--" stands for "/" in folder names.
_ID = r"(?!.*--)[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*"
_SPEC = re.compile(rf"hub:({_ID})(?:@([A-Za-z0-9][A-Za-z0-9._/-]*))?(?:#sha256:([0-9a-f]{{64}}))?")
_COMMIT = re.compile("[0-9a-f]{40}")
_OWNER_OF_BARE_NAMES = "timm"


@dataclass(frozen=True)
class HubName:
    """Weights on a hub, by name.

    Attributes:
        id: `owner/name`; a name without an owner is timm's.
        revision: a full commit hash, or a branch or tag, which may move; None: what the store has, else the newest.
        digest: SHA-256 of the safetensors file as the store keeps it, hexadecimal.
    """

    id: str
    revision: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, spec: str) -> HubName:
        """Read `hub:ID[@REVISION][#sha256:DIGEST]`.

        Raises:
            ValueError: not of that form.
        """
        found = _SPEC.fullmatch(spec)
        if found is None:
            raise ValueError(
                f"weights {spec!r}: write hub:ID, hub:ID@REVISION or hub:ID@REVISION#sha256:DIGEST; an id has letters, "
                "digits, '.', '_', single '-', and '/' between its parts"
            )
        name, revision, digest = found.groups()
        return cls(name if "/" in name else f"{_OWNER_OF_BARE_NAMES}/{name}", revision, digest)

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        digest = f"#sha256:{self.digest}" if self.digest else ""
        return f"{HUB}:{self.id}{revision}{digest}"

    @property
    def commit(self) -> str | None:
        """The revision where it is a full commit hash, which cannot move."""
        return self.revision if self.revision is not None and _COMMIT.fullmatch(self.revision) else None

    def unpinned(self) -> HubName:
        """The name alone."""
        return replace(self, revision=None, digest=None)

    def agrees_with(self, other: HubName) -> bool:
        """Whether both may mean one file: equal ids, and no pin of one contradicts the other's."""
        if self.id != other.id:
            return False
        if self.digest is not None and other.digest is not None:
            return self.digest == other.digest  # the same bytes, wherever they came from
        return self.commit is None or other.commit is None or self.commit == other.commit
