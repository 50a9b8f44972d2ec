"""Processes that a command starts and has to end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence


def start_node(namespace: str, image: str, words: Sequence[str], **parameters: object) -> subprocess.Popen[bytes]:
    """Start the node in a process of its own, for images of one topic, with its first words and other parameters."""
    given = {**parameters, "vocabulary": json.dumps(list(words))}
    arguments = ["--ros-args", "-r", f"__ns:={namespace}", "-r", f"image:={image}"]
    arguments += [part for name, value in given.items() for part in ("-p", f"{name}:={value}")]
    return subprocess.Popen([sys.executable, "-m", "ovseg_ros.cli", "node", *arguments])


def stop(process: subprocess.Popen[bytes], patience: float = 10.0) -> int:
    """Ctrl-C for a child, a kill after `patience` seconds; returns its exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()
