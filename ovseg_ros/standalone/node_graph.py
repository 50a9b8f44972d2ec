"""What a node can ask about the others in its domain."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from .dds import names
from .dds.graph import DiscoveredEndpoint, Graph, NodeEntry
from .exceptions import RCLError
from .topic_endpoint_info import TopicEndpointInfo, TopicEndpointTypeEnum, TypeHash

NamesAndTypes = list[tuple[str, list[str]]]


class GraphQueries:
    """Mixed into `Node`. Answers tell what has been discovered so far, which takes up to a second after start."""

    def _graph(self) -> Graph:
        raise NotImplementedError

    def resolve_topic_name(self, topic: str, *, only_expand: bool = False) -> str:
        """Return the full name of a topic, remapped unless `only_expand`."""
        raise NotImplementedError

    def get_node_names(self) -> list[str]:
        """Return the names of all nodes."""
        return [node.name for node in self._graph().nodes()]

    def get_node_names_and_namespaces(self) -> list[tuple[str, str]]:
        """Return (name, namespace) of all nodes."""
        return [(node.name, node.namespace) for node in self._graph().nodes()]

    def get_node_names_and_namespaces_with_enclaves(self) -> list[tuple[str, str, str]]:
        """Return (name, namespace, enclave) of all nodes."""
        return [(node.name, node.namespace, "/") for node in self._graph().nodes()]

    def get_fully_qualified_node_names(self) -> list[str]:
        """Return `/ns/name` of all nodes."""
        return [node.full_name for node in self._graph().nodes()]

    def get_topic_names_and_types(self, no_demangle: bool = False) -> NamesAndTypes:
        """Return all topics with their types; DDS's own spelling, and all of DDS, if `no_demangle`."""
        endpoints = self._graph().endpoints()
        if no_demangle:
            return _group((e.topic, e.type) for e in endpoints)
        return _topics(endpoints)

    def get_service_names_and_types(self) -> NamesAndTypes:
        """Return all services, served or called, with their types."""
        return _services(self._graph().endpoints(), lambda part, is_reader: True)

    def get_publisher_names_and_types_by_node(
        self, node_name: str, node_namespace: str, no_demangle: bool = False
    ) -> NamesAndTypes:
        """Return the topics a node publishes; raises `RCLError` for an unknown node."""
        return self._topics_of(self._find_node(node_name, node_namespace).writers, no_demangle)

    def get_subscriber_names_and_types_by_node(
        self, node_name: str, node_namespace: str, no_demangle: bool = False
    ) -> NamesAndTypes:
        """Return the topics a node subscribes to; raises `RCLError` for an unknown node."""
        return self._topics_of(self._find_node(node_name, node_namespace).readers, no_demangle)

    def get_service_names_and_types_by_node(self, node_name: str, node_namespace: str) -> NamesAndTypes:
        """Return the services a node serves; raises `RCLError` for an unknown node."""
        found = self._graph().endpoints_of(self._find_node(node_name, node_namespace).readers)
        return _services(found, lambda part, is_reader: part == "Request" and is_reader)

    def get_client_names_and_types_by_node(self, node_name: str, node_namespace: str) -> NamesAndTypes:
        """Return the services a node calls; raises `RCLError` for an unknown node."""
        found = self._graph().endpoints_of(self._find_node(node_name, node_namespace).readers)
        return _services(found, lambda part, is_reader: part == "Reply" and is_reader)

    def count_publishers(self, topic_name: str) -> int:
        """Return how many publishers a topic has."""
        return len(self._on_topic(topic_name, is_reader=False))

    def count_subscribers(self, topic_name: str) -> int:
        """Return how many subscriptions a topic has."""
        return len(self._on_topic(topic_name, is_reader=True))

    def count_services(self, service_name: str) -> int:
        """Return how many servers a service (full name) has."""
        return len(self._graph().endpoints(names.request(service_name), is_reader=True))

    def count_clients(self, service_name: str) -> int:
        """Return how many clients a service (full name) has."""
        return len(self._graph().endpoints(names.request(service_name), is_reader=False))

    def get_publishers_info_by_topic(self, topic_name: str, no_mangle: bool = False) -> list[TopicEndpointInfo]:
        """Return node, type, hash and QoS of every publisher of a topic."""
        return [self._info(e) for e in self._on_topic(topic_name, is_reader=False, no_mangle=no_mangle)]

    def get_subscriptions_info_by_topic(self, topic_name: str, no_mangle: bool = False) -> list[TopicEndpointInfo]:
        """Return node, type, hash and QoS of every subscription of a topic."""
        return [self._info(e) for e in self._on_topic(topic_name, is_reader=True, no_mangle=no_mangle)]

    # -----------------------------------------------------------------------------------------------------------------

    def _on_topic(self, name: str, *, is_reader: bool, no_mangle: bool = False) -> list[DiscoveredEndpoint]:
        dds = name if no_mangle else names.topic(self.resolve_topic_name(name))
        return self._graph().endpoints(dds, is_reader=is_reader)

    def _info(self, endpoint: DiscoveredEndpoint) -> TopicEndpointInfo:
        owner = self._graph().node_of(endpoint)
        kind = TopicEndpointTypeEnum.SUBSCRIPTION if endpoint.is_reader else TopicEndpointTypeEnum.PUBLISHER
        known = {"node_name": owner.name, "node_namespace": owner.namespace} if owner else {}
        return TopicEndpointInfo(
            topic_type=names.ros_type(endpoint.type),
            topic_type_hash=TypeHash.parse(endpoint.user_data.get("typehash", "")),
            endpoint_type=kind,
            endpoint_gid=tuple(endpoint.gid),
            qos_profile=endpoint.qos,
            **known,
        )

    def _find_node(self, name: str, namespace: str) -> NodeEntry:
        for node in self._graph().nodes():
            if (node.name, node.namespace) == (name, namespace):
                return node
        there = ", ".join(sorted(node.full_name for node in self._graph().nodes()))
        raise RCLError(f"no node {name!r} in namespace {namespace!r} has been discovered; there are: {there}")

    def _topics_of(self, gids: Iterable[bytes], no_demangle: bool) -> NamesAndTypes:
        found = self._graph().endpoints_of(gids)
        return _group((e.topic, e.type) for e in found) if no_demangle else _topics(found)


def _topics(endpoints: Iterable[DiscoveredEndpoint]) -> NamesAndTypes:
    named = ((names.ros_topic(e.topic), e.type) for e in endpoints)
    return _group((topic, names.ros_type(kind)) for topic, kind in named if topic is not None)


def _services(endpoints: Iterable[DiscoveredEndpoint], wanted: Callable[[str, bool], bool]) -> NamesAndTypes:
    parts = ((names.ros_service(e.topic), e) for e in endpoints)
    return _group(
        (part[0], names.ros_service_type(e.type)) for part, e in parts if part and wanted(part[1], e.is_reader)
    )


def _group(pairs: Iterable[tuple[str, str]]) -> NamesAndTypes:
    grouped: defaultdict[str, set[str]] = defaultdict(set)
    for name, kind in pairs:
        grouped[name].add(kind)
    return [(name, sorted(kinds)) for name, kinds in sorted(grouped.items())]
