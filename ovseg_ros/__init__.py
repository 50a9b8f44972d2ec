"""Open-vocabulary semantic segmentation for ROS 2: one pass of one network, with words that change while it runs."""

__version__ = "0.1.0"
