"""The six services through which `ros2 param` and others reach the parameters of a node."""

from __future__ import annotations

from typing import Any

from .exceptions import ParameterException, ParameterNotDeclaredException, ParameterUninitializedException
from .interfaces import message, service
from .parameter import Parameter
from .qos import qos_profile_parameters

SetParametersResult: Any = message("rcl_interfaces/msg/SetParametersResult")


class ParameterService:
    """Serves `~/describe_parameters` and its five sisters for a node."""

    def __init__(self, node: Any) -> None:
        self._node = node
        for kind, callback in (
            ("DescribeParameters", self._describe),
            ("GetParameters", self._get),
            ("GetParameterTypes", self._get_types),
            ("ListParameters", self._list),
            ("SetParameters", self._set),
            ("SetParametersAtomically", self._set_atomically),
        ):
            snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in kind).lstrip("_")
            node.create_service(
                service(f"rcl_interfaces/srv/{kind}"),
                f"{node.get_name()}/{snake}",
                callback,
                qos_profile=qos_profile_parameters,
            )

    # A question about any parameter that is not there is answered with an empty list, as in rclpy.

    def _describe(self, request: Any, response: Any) -> Any:
        try:
            response.descriptors = self._node.describe_parameters(request.names)
        except ParameterNotDeclaredException:
            response.descriptors = []
        return response

    def _get(self, request: Any, response: Any) -> Any:
        try:
            response.values = [p.get_parameter_value() for p in self._node.get_parameters(request.names)]
        except (ParameterNotDeclaredException, ParameterUninitializedException):
            response.values = []
        return response

    def _get_types(self, request: Any, response: Any) -> Any:
        try:
            response.types = [self._node.get_parameter_type(name).value for name in request.names]
        except ParameterNotDeclaredException:
            response.types = []
        return response

    def _list(self, request: Any, response: Any) -> Any:
        response.result = self._node.list_parameters(request.prefixes, request.depth)
        return response

    def _set(self, request: Any, response: Any) -> Any:
        response.results = [self._try([msg]) for msg in request.parameters]
        return response

    def _set_atomically(self, request: Any, response: Any) -> Any:
        response.result = self._try(request.parameters)
        return response

    def _try(self, messages: list[Any]) -> Any:
        """Set parameters from outside: whatever is wrong with them is the caller's to know, not ours to die of."""
        try:
            return self._node.set_parameters_atomically([Parameter.from_parameter_msg(m) for m in messages])
        except (ParameterException, RuntimeError, TypeError, ValueError) as error:
            return SetParametersResult(successful=False, reason=str(error))
