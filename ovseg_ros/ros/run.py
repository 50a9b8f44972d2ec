"""The program `segment`: the node as `ros2 run` and launch files start it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ovseg_ros.errors import OvsegError


def main(args: Sequence[str] | None = None) -> int:
    """Run the node and return its exit code; see `ovseg_ros.ros.node.main`."""
    try:
        # here, so that a missing graph is one sentence and Ctrl-C while Python imports is no traceback
        from ovseg_ros.ros import node
    except OvsegError as error:
        print(f"ovseg: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0
    return node.main(args)


if __name__ == "__main__":
    sys.exit(main())
