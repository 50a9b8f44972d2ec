"""The node: names, entities, parameters, its place in the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import ref

from .arguments import Arguments, parse
from .callback_groups import CallbackGroup, MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from .clock import Clock, ROSClock
from .context import Context, get_default_context
from .dds.graph import Graph, NodeEntry
from .exceptions import NotInitializedException
from .interfaces import message
from .logging import RcutilsLogger, get_logger
from .names import expand_topic_name, validate_namespace, validate_node_name
from .node_entities import EntityOwner
from .node_graph import GraphQueries
from .node_parameters import ParameterHolder
from .parameter import Parameter
from .parameter_service import ParameterService
from .qos import qos_profile_parameter_events
from .rosout import Rosout
from .time_source import TimeSource
from .type_description_service import TypeDescriptionService


class Node(EntityOwner, GraphQueries, ParameterHolder):
    """A ROS node. Create it after `init()`; destroy it with `destroy_node()`, or leave that to the end."""

    def __init__(
        self,
        node_name: str,
        *,
        context: Context | None = None,
        cli_args: Sequence[str] | None = None,
        namespace: str | None = None,
        use_global_arguments: bool = True,
        enable_rosout: bool = True,
        start_parameter_services: bool = True,
        parameter_overrides: Sequence[Parameter] | None = None,
        allow_undeclared_parameters: bool = False,
        automatically_declare_parameters_from_overrides: bool = False,
        enable_logger_service: bool = False,
    ) -> None:
        """Create and announce the node.

        Names may be remapped by the command line or by `cli_args` (which stand behind an implicit --ros-args);
        `parameter_overrides` go before both. `enable_logger_service` is accepted and does nothing. Raises
        `NotInitializedException`, `InvalidNodeNameException`, `InvalidNamespaceException`.
        """
        self._context = get_default_context() if context is None else context
        if not self._context.ok():
            raise NotInitializedException("cannot create node")
        self._arguments = _arguments(self._context, cli_args, use_global_arguments)
        validate_node_name(node_name)
        self._name = self._arguments.node_name(node_name)
        validate_node_name(self._name)
        space = self._arguments.namespace(node_name, namespace or "/")
        self._namespace = space if space.startswith("/") else f"/{space}"
        validate_namespace(self._namespace)
        self._logger = get_logger(".".join([*self._namespace.strip("/").split("/"), self._name]).strip("."))
        self._entry = NodeEntry(self._namespace, self._name)
        self._executor: Callable[[], Any] = lambda: None
        self._destroyed = False
        self._init_entities()
        self._default_callback_group: CallbackGroup = MutuallyExclusiveCallbackGroup()
        self._rate_group = ReentrantCallbackGroup()
        self._clock = ROSClock()
        overrides = {
            n: Parameter(n, value=v) for n, v in self._arguments.overrides(self.get_fully_qualified_name()).items()
        }
        overrides.update({parameter.name: parameter for parameter in parameter_overrides or ()})
        self._init_parameters(overrides, allow_undeclared_parameters)
        self._context.add_node(self)
        with self._graph().hold():
            self._graph().add_node(self._entry)
            self._rosout = Rosout(self) if enable_rosout and self._arguments.rosout else None
            self._parameter_event_publisher = self.create_publisher(
                message("rcl_interfaces/msg/ParameterEvent"), "/parameter_events", qos_profile_parameter_events
            )
            if automatically_declare_parameters_from_overrides:
                rows = [(p.name, p.value) for p in overrides.values()]
                self.declare_parameters("", rows, ignore_override=True)
            self._time_source = TimeSource(self, self._clock)
            if start_parameter_services:
                self._parameter_service = ParameterService(self)
            self._type_description_service = TypeDescriptionService(self)

    # -- identity -----------------------------------------------------------------------------------------------------

    def get_name(self) -> str:
        """Return the name, remapped."""
        return self._name

    def get_namespace(self) -> str:
        """Return the namespace, `/` at least."""
        return self._namespace

    def get_fully_qualified_name(self) -> str:
        """Return `/ns/name`."""
        return f"{self._namespace.rstrip('/')}/{self._name}"

    def get_logger(self) -> RcutilsLogger:
        """Return the node's logger, whose lines also go to /rosout."""
        return self._logger

    def get_clock(self) -> Clock:
        """Return the node's clock, ROS time."""
        return self._clock

    @property
    def context(self) -> Context:
        """The context it lives in."""
        return self._context

    @property
    def default_callback_group(self) -> CallbackGroup:
        """The group of every entity that is given none: mutually exclusive."""
        return self._default_callback_group

    @property
    def executor(self) -> Any:
        """The executor that runs the node's callbacks, None while there is none."""
        return self._executor()

    @executor.setter
    def executor(self, new_executor: Any) -> None:
        current = self.executor
        if current is new_executor:
            return
        if current is not None:
            current.remove_node(self)
        self._executor = (lambda: None) if new_executor is None else ref(new_executor)
        if new_executor is not None:
            new_executor.add_node(self)

    def resolve_topic_name(self, topic: str, *, only_expand: bool = False) -> str:
        """Return the full name of a topic, remapped unless `only_expand`."""
        return self._resolve(topic, False, only_expand)

    def resolve_service_name(self, service: str, *, only_expand: bool = False) -> str:
        """Return the full name of a service, remapped unless `only_expand`."""
        return self._resolve(service, True, only_expand)

    def _resolve(self, name: str, is_service: bool, only_expand: bool = False) -> str:
        full = expand_topic_name(name, self._name, self._namespace, is_service=is_service)
        if only_expand:
            return full
        return self._arguments.remap(full, self._name, self._namespace, is_service=is_service)

    # -- the end ------------------------------------------------------------------------------------------------------

    def destroy_node(self) -> None:
        """Destroy every entity and leave the graph; harmless when done twice."""
        if self._destroyed:
            return
        self._destroyed = True
        executor = self.executor
        if executor is not None:
            executor.remove_node(self)
        if self._rosout is not None:
            self._rosout.close()
        with self._graph().hold():
            self._destroy_entities()
            self._graph().remove_node(self._entry)
        self._context.remove_node(self)

    def _graph(self) -> Graph:
        graph = self._context.graph
        if graph is None:
            raise NotInitializedException
        return graph  # type: ignore[no-any-return]

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *_: object) -> None:
        self.destroy_node()


def _arguments(context: Context, cli_args: Sequence[str] | None, use_global: bool) -> Arguments:
    """Return what the node's own and the process's command line say; the node's own goes first."""
    own = parse(["--ros-args", *(cli_args or ())])
    if not use_global:
        return own
    common = context.arguments
    return Arguments(
        remaps=own.remaps + common.remaps,
        parameters=common.parameters + own.parameters,
        log_levels=common.log_levels | own.log_levels,
        rosout=common.rosout and own.rosout,
    )
