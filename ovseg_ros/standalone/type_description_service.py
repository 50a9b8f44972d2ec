"""The service `~/get_type_description`, through which tools learn the types a node uses."""

from __future__ import annotations

from typing import Any

from .interfaces import InterfaceError, service, type_hash
from .interfaces.description import describe
from .node_parameters import ParameterDescriptor

START_PARAMETER = "start_type_description_service"


class TypeDescriptionService:
    """Serves the definition of any interface known here, unless the parameter forbids it."""

    def __init__(self, node: Any) -> None:
        if not node.has_parameter(START_PARAMETER):
            text = "If enabled, start the ~/get_type_description service."
            node.declare_parameter(START_PARAMETER, True, ParameterDescriptor(description=text, read_only=True))
        if node.get_parameter(START_PARAMETER).value is True:
            node.create_service(
                service("type_description_interfaces/srv/GetTypeDescription"),
                f"{node.get_name()}/get_type_description",
                self._answer,
            )

    def _answer(self, request: Any, response: Any) -> Any:
        try:
            actual = type_hash(request.type_name)
            if request.type_hash and request.type_hash != actual:
                raise InterfaceError(f"{request.type_name} has the hash {actual} here, not {request.type_hash}")
            response.type_description, sources = describe(request.type_name)
        except (InterfaceError, ValueError) as error:
            response.successful = False
            response.failure_reason = str(error)
            return response
        response.successful = True
        if request.include_type_sources:
            response.type_sources = sources
        return response
