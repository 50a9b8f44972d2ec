"""The names of `ovseg_ros.ros`, from a ROS 2 installation."""

# mypy: ignore-errors
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import Header
from vision_msgs.msg import Detection2D, Detection2DArray, LabelInfo, ObjectHypothesisWithPose, VisionClass

from ovseg_msgs.msg import DetectedClass, DetectedClasses
from ovseg_msgs.srv import GetVocabulary, SetVocabulary

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # the module's name in Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

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
