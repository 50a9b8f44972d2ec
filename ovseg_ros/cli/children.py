"""Processes that a command starts and has to end."""

from __future__ import annotations

import signal
import subprocess


def stop(process: subprocess.Popen[bytes], patience: float = 10.0) -> int:
    """Ctrl-C for a child, a kill after `patience` seconds; returns its exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()
