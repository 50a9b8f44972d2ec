"""The names of `ovseg_ros.ros`, over Cyclone DDS where there is no ROS 2."""

from __future__ import annotations

from ovseg_ros import standalone as rclpy
from ovseg_ros.resources import find
from ovseg_ros.standalone.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from ovseg_ros.standalone.clock import Clock, ClockType
from ovseg_ros.standalone.event_handler import SubscriptionEventCallbacks
from ovseg_ros.standalone.exceptions import ParameterException
from ovseg_ros.standalone.executors import (
    ExternalShutdownException,
    MultiThreadedExecutor,
    SingleThreadedExecutor,
)
from ovseg_ros.standalone.interfaces import add_path, message, service
from ovseg_ros.standalone.node import Node
from ovseg_ros.standalone.parameter import Parameter
from ovseg_ros.standalone.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSProfile,
    ReliabilityPolicy,
    qos_profile_sensor_data,
)
from ovseg_ros.standalone.time import Time

add_path(find("ovseg_msgs"))

DiagnosticArray = message("diagnostic_msgs/msg/DiagnosticArray")
DiagnosticStatus = message("diagnostic_msgs/msg/DiagnosticStatus")
KeyValue = message("diagnostic_msgs/msg/KeyValue")
DetectedClass = message("ovseg_msgs/msg/DetectedClass")
DetectedClasses = message("ovseg_msgs/msg/DetectedClasses")
GetVocabulary = service("ovseg_msgs/srv/GetVocabulary")
SetVocabulary = service("ovseg_msgs/srv/SetVocabulary")
FloatingPointRange = message("rcl_interfaces/msg/FloatingPointRange")
IntegerRange = message("rcl_interfaces/msg/IntegerRange")
ParameterDescriptor = message("rcl_interfaces/msg/ParameterDescriptor")
SetParametersResult = message("rcl_interfaces/msg/SetParametersResult")
CameraInfo = message("sensor_msgs/msg/CameraInfo")
CompressedImage = message("sensor_msgs/msg/CompressedImage")
Image = message("sensor_msgs/msg/Image")
PointCloud2 = message("sensor_msgs/msg/PointCloud2")
PointField = message("sensor_msgs/msg/PointField")
Header = message("std_msgs/msg/Header")
Detection2D = message("vision_msgs/msg/Detection2D")
Detection2DArray = message("vision_msgs/msg/Detection2DArray")
LabelInfo = message("vision_msgs/msg/LabelInfo")
ObjectHypothesisWithPose = message("vision_msgs/msg/ObjectHypothesisWithPose")
VisionClass = message("vision_msgs/msg/VisionClass")

__all__ = [
    "CameraInfo",
    "Clock",
    "ClockType",
    "CompressedImage",
    "DetectedClass",
    "DetectedClasses",
    "Detection2D",
    "Detection2DArray",
    "DiagnosticArray",
    "DiagnosticStatus",
    "DurabilityPolicy",
    "ExternalShutdownException",
    "FloatingPointRange",
    "GetVocabulary",
    "Header",
    "HistoryPolicy",
    "Image",
    "IntegerRange",
    "KeyValue",
    "LabelInfo",
    "MultiThreadedExecutor",
    "MutuallyExclusiveCallbackGroup",
    "Node",
    "ObjectHypothesisWithPose",
    "Parameter",
    "ParameterDescriptor",
    "ParameterException",
    "PointCloud2",
    "PointField",
    "QoSProfile",
    "ReentrantCallbackGroup",
    "ReliabilityPolicy",
    "SetParametersResult",
    "SetVocabulary",
    "SingleThreadedExecutor",
    "SubscriptionEventCallbacks",
    "Time",
    "VisionClass",
    "qos_profile_sensor_data",
    "rclpy",
]
