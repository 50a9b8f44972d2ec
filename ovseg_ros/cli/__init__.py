"""The `ovseg` command; one module a subcommand."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence

from ovseg_ros.errors import OvsegError

COMMANDS = {
    "demo": "simulated camera -> node -> masks over DDS, with live IoU against the simulator's truth",
    "camera": "the simulated camera alone, as topics",
    "segment": "label images, folders, videos, rosbag2 recordings or a webcam; writes overlays",
    "node": "the ROS 2 node itself; takes --ros-args",
    "vocabulary": "read or change the words of a running node",
    "words": "a word's senses and synonyms in WordNet, which are used and why others are not",
    "models": "the models that are there, with size, licence and scores, and those that can be built",
    "build": "export a model with its weights and compile it for a device",
    "train": "train a model by its recipe",
    "evaluate": "measure a model on a data set",
    "bench": "time models side by side, or the node on the wire",
    "doctor": "what this machine has, and what is missing",
}
MODULES = {"words": "lexicon"}  # where another module has the command's name
USAGE_ERROR = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; 0 on success, 2 with one sentence on bad input, 130 on Ctrl-C."""
    argv = list(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    if argv[:1] == ["node"]:  # ROS reads its own arguments
        from ovseg_ros.ros.run import main as node_main

        return node_main(["ovseg", *argv[1:]])
    parser = argparse.ArgumentParser(prog="ovseg", description="Open-vocabulary segmentation for robots.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if argv[:1] == [name]:  # only the chosen command's module is imported
            module = importlib.import_module(f"ovseg_ros.cli.{MODULES.get(name, name)}")
            module.configure(command)
            command.set_defaults(run=module.run)
    options = parser.parse_args(argv)
    try:
        return int(options.run(options))
    except OvsegError as error:
        print(f"ovseg {options.command}: {error}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `ovseg models | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
