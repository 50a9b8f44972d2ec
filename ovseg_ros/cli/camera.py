"""`ovseg camera`: the simulated robot camera as topics, with its truth."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ovseg_ros.errors import OvsegError

if TYPE_CHECKING:
    from ovseg_ros.sim import Frame

LINGER = 0.5  # seconds that the last frames get to arrive
DEFAULT_SEED = 1_000_016  # evaluation scenes from here on: a table, a room, a warehouse ...


class CameraError(OvsegError):
    """Options that make no camera."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--topic", default="/camera/image_raw", help="of the image; the others lie beside it")
    parser.add_argument("--frames", type=int, default=0, help="stop after so many; 0: run until stopped")
    parser.add_argument("--fps", type=float, default=5.0, help="frames a second (software rendering takes a core)")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="of the scene; 1,000,000 and up are unseen ones")
    parser.add_argument("--width", type=int, default=640, help="pixels")
    parser.add_argument("--height", type=int, default=480, help="pixels")
    parser.add_argument(
        "--scene-seconds", type=float, default=0.0, help="change to the next scene this often; 0: never"
    )
    parser.add_argument("--replay", type=int, default=0, help="render so many frames first, then play them in a loop")
    parser.add_argument("--encoding", choices=("rgb8", "bgr8"), default="rgb8", help="of the image")
    parser.add_argument("--subscribers", type=int, default=1, help="wait for so many before the first frame")
    parser.add_argument("--wait", type=float, default=0.0, help="seconds to wait for them at most")


def run(options: argparse.Namespace) -> int:
    """Publish until the frames are out, or until Ctrl-C or SIGTERM."""
    if options.fps <= 0 or options.frames < 0 or options.replay < 0:
        raise CameraError("--fps must be above 0, --frames and --replay not below")
    if not 16 <= options.width <= 4096 or not 16 <= options.height <= 4096:
        raise CameraError(f"{options.width}x{options.height} pixels; width and height lie in 16..4096")
    from ovseg_ros import ros

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # until the graph takes over
    try:
        frames = Frames(options)
        ros.rclpy.init(args=[])
        camera = camera_node(options, frames)
        executor = ros.SingleThreadedExecutor()
        executor.add_node(camera)
        try:
            while not camera.done:
                executor.spin_once(timeout_sec=0.5)
            time.sleep(LINGER)
        except (ros.ExternalShutdownException, KeyboardInterrupt):
            pass
        finally:
            ros.rclpy.try_shutdown()
    except KeyboardInterrupt:
        return 0
    print(f"{camera.published} frames published on {options.topic}", file=sys.stderr)
    return 0


class Frames:
    """The frames of a drive through one scene or several, rendered as asked for or replayed from memory."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._scene = -1
        self._open(0)
        self._replayed = [self._render(i) for i in range(options.replay)]

    def __getitem__(self, number: int) -> Frame:
        """Frame `number`, counted from 0; times advance by 1 / fps."""
        if self._replayed:
            return self._replayed[number % len(self._replayed)]
        return self._render(number)

    def _render(self, number: int) -> Frame:
        t = number / self._options.fps
        if self._options.scene_seconds > 0:
            self._open(int(t / self._options.scene_seconds))
        frame: Frame = self._drive.render(t)
        return frame

    def _open(self, scene: int) -> None:
        if scene == self._scene:
            return
        from ovseg_ros.sim import open_drive

        if self._scene >= 0:
            self._drive.close()
        options = self._options
        self._scene = scene
        self._drive: Any = open_drive(options.seed + scene, options.width, options.height)
        if note := getattr(self._drive, "note", ""):
            print(f"ovseg camera: {note}", file=sys.stderr)


def camera_node(options: argparse.Namespace, frames: Frames) -> Any:
    """Make the node; a function, because its base class is known only when the graph is chosen."""
    from ovseg_ros import ros
    from ovseg_ros.ros.messages import image_message
    from ovseg_ros.sim import KINDS

    base = options.topic.rpartition("/")[0]
    latched = ros.QoSProfile(depth=1, durability=ros.DurabilityPolicy.TRANSIENT_LOCAL)

    class Camera(ros.Node):
        """Publishes a frame a timer tick: image, camera_info, depth, truth, all with one header."""

        def __init__(self) -> None:
            super().__init__("camera")
            self.published = 0
            self._image_publisher = self.create_publisher(ros.Image, options.topic, 10)
            self._info_publisher = self.create_publisher(ros.CameraInfo, f"{base}/camera_info", 10)
            self._depth_publisher = self.create_publisher(ros.Image, f"{base}/depth", 10)
            self._truth_publisher = self.create_publisher(ros.Image, f"{base}/truth", 10)
            self._truth_info_publisher = self.create_publisher(ros.LabelInfo, f"{base}/truth_info", latched)
            self._truth_info_publisher.publish(self._kinds())
            self._patience = time.monotonic() + options.wait
            self.create_timer(1 / options.fps, self._tick)

        def _tick(self) -> None:
            if self.done:
                return
            if (
                self._image_publisher.get_subscription_count() < options.subscribers
                and time.monotonic() < self._patience
            ):
                return
            self._patience = 0.0
            frame = frames[self.published]
            header = ros.Header(stamp=self.get_clock().now().to_msg(), frame_id="camera_optical_frame")
            pixels = frame.rgb if options.encoding == "rgb8" else np.ascontiguousarray(frame.rgb[..., ::-1])
            self._image_publisher.publish(image_message(pixels, options.encoding, header))
            self._info_publisher.publish(self._camera_info(frame, header))
            if self._truth_publisher.get_subscription_count():
                self._truth_publisher.publish(image_message(frame.labels(tuple(KINDS)), "mono8", header))
            if frame.depth is not None and self._depth_publisher.get_subscription_count():
                self._depth_publisher.publish(image_message(frame.depth, "32FC1", header))
            self.published += 1

        @property
        def done(self) -> bool:
            """Whether every frame is out."""
            return bool(0 < options.frames <= self.published)

        def _camera_info(self, frame: Frame, header: Any) -> Any:
            k = frame.intrinsics
            info = ros.CameraInfo(header=header, width=frame.rgb.shape[1], height=frame.rgb.shape[0])
            info.distortion_model, info.d = "plumb_bob", [0.0] * 5
            info.k = [float(v) for v in k.ravel()]
            info.r = [float(v) for v in np.eye(3).ravel()]
            info.p = [float(v) for v in np.column_stack([k, np.zeros(3)]).ravel()]
            return info

        def _kinds(self) -> Any:
            message = ros.LabelInfo()
            message.class_map = [ros.VisionClass(class_id=i, class_name=kind) for i, kind in enumerate(KINDS)]
            return message

    return Camera()


def command(options: Sequence[str]) -> list[str]:
    """The command line of a camera process."""
    return [sys.executable, "-m", "ovseg_ros.cli", "camera", *options]
