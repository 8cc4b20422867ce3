"""Standard base64, in its one canonical spelling."""

from __future__ import annotations

import base64

__all__ = ["decode_base64", "encode_base64"]


def encode_base64(data: bytes) -> str:
    """Return standard base64 with padding (RFC 4648, section 4)."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str) -> bytes:
    """Decode standard base64, in its one canonical spelling only.

    Raises:
        ValueError: another alphabet, white space, missing padding, or bits set that no encoder sets.
    """
    # b64decode ignores the unused low bits of the last digit, so several texts give the same bytes.
    data = base64.b64decode(text, validate=True)
    if encode_base64(data) != text:
        raise ValueError("not canonical base64")
    return data
