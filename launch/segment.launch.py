"""Start the segmentation node, for instance:

ros2 launch ovseg_ros segment.launch.py image:=/camera/image_raw vocabulary:="forklift; pallet, skid; floor"
"""

import os
import signal

import yaml
from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

# A shell script's background jobs start with Ctrl-C ignored, and launch would pass that on: `kill -INT` must end us.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARE = get_package_share_directory("ovseg_ros")
FILES = (".yaml", ".yml")


def words(text):
    """The parameters that a `vocabulary` argument stands for: a list, words between ';', or a file."""
    text = text.strip()
    if not text:
        return {}
    if text.endswith(FILES) or os.path.isfile(os.path.join(SHARE, "config", "vocabularies", f"{text}.yaml")):
        return {"vocabulary_file": os.path.abspath(text) if text.endswith(FILES) else text}
    if text.startswith("["):
        entries = yaml.safe_load(text)
        if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            raise ValueError(f"vocabulary must be a list of texts such as \"['person, human', 'car']\", not {text}")
        return {"vocabulary": entries}
    return {"vocabulary": [entry.strip() for entry in text.split(";") if entry.strip()]}


def start(context):
    value = {name: LaunchConfiguration(name).perform(context) for name in ("model", "device", "vocabulary")}
    # an argument left out leaves the word to the parameters file
    chosen = {name: value[name] for name in ("model", "device") if value[name]} | words(value["vocabulary"])
    node = Node(
        package="ovseg_ros",
        executable="segment",
        name="ovseg",
        namespace=LaunchConfiguration("namespace"),
        parameters=[LaunchConfiguration("params_file"), chosen],
        remappings=[
            ("image", LaunchConfiguration("image")),
            ("depth", LaunchConfiguration("depth")),
            ("camera_info", LaunchConfiguration("camera_info")),
        ],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        output="screen",
        emulate_tty=True,
    )
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        namespace=LaunchConfiguration("namespace"),
        arguments=["-d", os.path.join(SHARE, "config", "segment.rviz")],
        condition=IfCondition(LaunchConfiguration("rviz")),
    )
    return [node, rviz]


def generate_launch_description():
    return LaunchDescription(
        [
            DeclareLaunchArgument("image", default_value="image", description="Topic of the images to segment."),
            DeclareLaunchArgument(
                "depth", default_value="depth", description="Topic of depth registered to the images, for ~/points."
            ),
            DeclareLaunchArgument(
                "camera_info",
                default_value="camera_info",
                description="Topic of the camera's CameraInfo, for ~/points.",
            ),
            DeclareLaunchArgument(
                "model",
                default_value="",
                description="Model name (`ovseg models`) or folder; empty: as in params_file.",
            ),
            DeclareLaunchArgument(
                "vocabulary",
                default_value="",
                description="The words: 'person, human; car', or \"['person, human', 'car']\", or a YAML file, or one "
                "of household, warehouse, street, outdoor; empty: as in params_file.",
            ),
            DeclareLaunchArgument(
                "device", default_value="", description="Where the engine runs, cpu or gpu; empty: as in params_file."
            ),
            DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node."),
            DeclareLaunchArgument(
                "params_file",
                default_value=os.path.join(SHARE, "config", "segment.yaml"),
                description="YAML file of the node's parameters.",
            ),
            DeclareLaunchArgument("rviz", default_value="false", description="Whether to show the overlay in rviz2."),
            DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn, error or fatal."),
            OpaqueFunction(function=start),
        ]
    )
