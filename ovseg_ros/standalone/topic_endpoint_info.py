"""What `get_publishers_info_by_topic` tells of an endpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from .qos import QoSProfile, qos_profile_unknown


class TopicEndpointTypeEnum(IntEnum):
    """Publisher or subscription; numbers as in rmw/types.h."""

    INVALID = 0
    PUBLISHER = 1
    SUBSCRIPTION = 2


@dataclass(frozen=True)
class TypeHash:
    """A type hash: version 1 and 32 bytes, or version -1 where the peer gave none."""

    version: int = -1
    value: bytes = bytes(32)

    @classmethod
    def parse(cls, text: str) -> TypeHash:
        """Read `RIHS01_<64 hex digits>`; anything else gives the hash of version -1."""
        digits = text.removeprefix("RIHS01_")
        if len(digits) != 64 or digits == text:
            return cls()
        try:
            return cls(1, bytes.fromhex(digits))
        except ValueError:
            return cls()

    def __str__(self) -> str:
        return "INVALID" if self.version != 1 else f"RIHS01_{self.value.hex()}"


@dataclass(frozen=True)
class TopicEndpointInfo:
    """A publisher or subscription somewhere in the domain, with the node it belongs to."""

    node_name: str = "_NODE_NAME_UNKNOWN_"
    node_namespace: str = "_NODE_NAMESPACE_UNKNOWN_"
    topic_type: str = ""
    topic_type_hash: TypeHash = field(default_factory=TypeHash)
    endpoint_type: TopicEndpointTypeEnum = TopicEndpointTypeEnum.INVALID
    endpoint_gid: tuple[int, ...] = ()
    qos_profile: QoSProfile = field(default_factory=lambda: qos_profile_unknown)
