"""Opening a DDS domain as the environment asks, with the rules of rmw_cyclonedds_cpp and rcl.

ROS_DOMAIN_ID, ROS_AUTOMATIC_DISCOVERY_RANGE, ROS_STATIC_PEERS, ROS_LOCALHOST_ONLY and CYCLONEDDS_URI are read when a
context is initialised.
"""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

from cyclonedds.core import DDSException
from cyclonedds.domain import Domain, DomainParticipant
from cyclonedds.qos import Policy, Qos

from ..exceptions import RCLError
from . import native, user_data

#: How many processes of one machine find each other without multicast; rmw_cyclonedds_cpp's number.
MAX_PARTICIPANT_INDEX = 32
_RANGES = ("SUBNET", "LOCALHOST", "OFF", "SYSTEM_DEFAULT")


@dataclass(frozen=True)
class Discovery:
    """Whom to look for: a range of `ROS_AUTOMATIC_DISCOVERY_RANGE`, and addresses beyond it."""

    range: str = "SUBNET"
    peers: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls) -> Discovery:
        """Read the environment; raises `RCLError` for a range that does not exist."""
        wanted = os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "")
        localhost = os.environ.get("ROS_LOCALHOST_ONLY", "")
        # As in rcl: the old variable wins, whenever it is set to something.
        if localhost:
            return cls("LOCALHOST" if localhost == "1" else "SUBNET")
        if wanted and wanted not in _RANGES:
            raise RCLError(
                f"ROS_AUTOMATIC_DISCOVERY_RANGE is {wanted!r}; expected one of {', '.join(_RANGES)} (or unset it)"
            )
        peers = tuple(p.strip() for p in os.environ.get("ROS_STATIC_PEERS", "").split(";") if p.strip())
        return cls(wanted or "SUBNET", peers)

    def config(self) -> str:
        """Return the Cyclone configuration of this range, followed by whatever CYCLONEDDS_URI says."""
        own = "" if self.range == "SYSTEM_DEFAULT" else f"<CycloneDDS><Domain>{self._domain()}</Domain></CycloneDDS>,"
        return own + os.environ.get("CYCLONEDDS_URI", "")

    def _domain(self) -> str:
        if self.range == "OFF":
            # The tag is ours alone, so nobody answers.
            return (
                "<General><AllowMulticast>false</AllowMulticast></General>"
                f"<Discovery><ParticipantIndex>none</ParticipantIndex><Tag>ros_discovery_off_{os.getpid()}</Tag>"
                "</Discovery>"
            )
        local = self.range == "LOCALHOST"
        peers = [*(["localhost"] if local or not _multicasting() else []), *self.peers]
        listed = "".join(f"<Peer address={quoteattr(peer)}/>" for peer in peers)
        return (
            (f"<General><AllowMulticast>false</AllowMulticast>{_LARGE}{_local_interfaces()}</General>" if local else "")
            + "<Discovery><ParticipantIndex>auto</ParticipantIndex>"
            + f"<MaxAutoParticipantIndex>{MAX_PARTICIPANT_INDEX}</MaxAutoParticipantIndex>"
            + (f"<Peers>{listed}</Peers>" if listed else "")
            + "</Discovery>"
        )


# Loopback carries 64 KB at once: an image in 15 pieces instead of 700 takes half the time. A network would cut such
# packets up, so this is for LOCALHOST only.
_LARGE = "<MaxMessageSize>65500B</MaxMessageSize><FragmentSize>65000B</FragmentSize>"


def _local_interfaces() -> str:
    """Return the setting that adds loopback to the interface Cyclone chooses.

    Cyclone 0.10 (Jazzy's) announces itself to 127.0.0.1 while it uses another interface; Cyclone 11 drops what comes
    in by an interface it does not use, and would find such a peer only after half a minute.
    """
    if "NetworkInterface" in os.environ.get("CYCLONEDDS_URI", ""):
        return ""  # the user's choice
    loopback = next((name for name, flags in _interfaces() if flags & _LOOPBACK and flags & _UP), None)
    if loopback is None or not any(flags & _UP and not flags & _LOOPBACK for _, flags in _interfaces()):
        return ""
    return (
        '<Interfaces><NetworkInterface autodetermine="true"/>'
        f"<NetworkInterface name={quoteattr(loopback)}/></Interfaces>"
    )


def domain_id_from_environment() -> int:
    """Return ROS_DOMAIN_ID, 0 where it is not set; raises `RCLError` if it is no number from 0 to 232."""
    text = os.environ.get("ROS_DOMAIN_ID", "").strip()
    if not text:
        return 0
    try:
        return checked_domain_id(int(text))
    except ValueError as error:
        raise RCLError(f"ROS_DOMAIN_ID is {text!r}; expected a number from 0 to 232") from error


def checked_domain_id(number: int) -> int:
    """Return `number`; raises `RCLError` unless DDS can map it to ports."""
    if not 0 <= number <= 232:
        raise RCLError(f"domain id {number} does not exist; expected a number from 0 to 232")
    return number


_lock = threading.Lock()
_domains: dict[int, tuple[Domain, Discovery, int]] = {}


def open_participant(domain_id: int, discovery: Discovery) -> DomainParticipant:
    """Join the domain; raises `RCLError` if Cyclone refuses or the domain is open with another discovery."""
    with _lock:
        try:
            if domain_id not in _domains:
                _domains[domain_id] = (Domain(domain_id, discovery.config()), discovery, 0)
            domain, current, users = _domains[domain_id]
            if current != discovery:
                raise RCLError(
                    f"domain {domain_id} is already open in this process with {current}, not {discovery}; "
                    "shut the first context down before"
                )
            participant = DomainParticipant(domain_id, Qos(Policy.Userdata(user_data.pack(enclave="/"))))
        except DDSException as error:
            if domain_id in _domains and _domains[domain_id][2] == 0:
                native.delete(_domains.pop(domain_id)[0])
            raise RCLError(
                f"cannot join DDS domain {domain_id}: {error}. Common causes: no network interface is up, more than "
                f"{MAX_PARTICIPANT_INDEX + 1} ROS processes run on this machine, or CYCLONEDDS_URI is wrong: "
                f"{os.environ.get('CYCLONEDDS_URI', '(not set)')!r}"
            ) from error
        _domains[domain_id] = (domain, current, users + 1)
        return participant


def close_participant(domain_id: int, participant: DomainParticipant) -> None:
    """Leave the domain; the last one to leave closes it."""
    with _lock:
        native.delete(participant)
        domain, discovery, users = _domains[domain_id]
        if users > 1:
            _domains[domain_id] = (domain, discovery, users - 1)
        else:
            del _domains[domain_id]
            native.delete(domain)


# Interface flags of Linux, net/if.h.
_UP, _LOOPBACK, _MULTICAST = 0x1, 0x8, 0x1000


def _interfaces() -> list[tuple[str, int]]:
    """Return name and flags of every network interface; empty where that is unknown."""
    try:
        return [(name, int(Path(f"/sys/class/net/{name}/flags").read_text(), 16)) for _, name in socket.if_nameindex()]
    except (OSError, ValueError):
        return []


def _multicasting() -> bool:
    """Whether some interface that is up, other than loopback, can multicast; True where that is unknown."""
    found = _interfaces()
    return not found or any(f & _UP and f & _MULTICAST and not f & _LOOPBACK for _, f in found)
