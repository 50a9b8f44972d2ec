"""`key=value;` pairs in the USER_DATA of participants and endpoints."""

from __future__ import annotations


def pack(**pairs: str) -> bytes:
    """`pack(serviceid="1.a", typehash="RIHS01_...")` -> `b"serviceid=1.a;typehash=RIHS01_...;"`, in this order."""
    return "".join(f"{key}={value};" for key, value in pairs.items()).encode()


def unpack(data: bytes) -> dict[str, str]:
    """Return the pairs in `data`; whatever is no pair is left out."""
    pairs = (part.partition("=") for part in data.decode("latin-1").split(";"))
    return {key: value for key, sign, value in pairs if sign}
