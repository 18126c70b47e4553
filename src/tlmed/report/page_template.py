"""How pages are made: one file each, with all pictures inside, so that nothing outside it is loaded."""

from __future__ import annotations

import base64
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

_JPEG = b"\xff\xd8"


def render_template(template: str, **values: Any) -> str:
    """Fill in one of the templates; text in it is escaped."""
    environment = Environment(
        loader=PackageLoader("tlmed.report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
    )
    return environment.get_template(template).render(**values)


def as_data(image: bytes) -> str:
    """Return a PNG or JPEG as an address that holds its bytes."""
    kind = "jpeg" if image.startswith(_JPEG) else "png"
    return f"data:image/{kind};base64,{base64.b64encode(image).decode('ascii')}"
