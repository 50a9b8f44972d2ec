"""The ROS 2 node `ovseg`: images in, masks out, with words that can change at any time.

Three threads: the executor's two (images have one to themselves, so that nothing holds them up) and a worker that
loads the model and segments the newest frame. `Outputs` and `ImageInput` hold the topics, `Parameters` the parameters,
`VocabularyServices` the words.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from ovseg_ros import ros
from ovseg_ros.errors import ImageError, OvsegError
from ovseg_ros.ros.diagnostics import diagnostic_message, refusal
from ovseg_ros.ros.health import Health, Throttle
from ovseg_ros.ros.inputs import DepthInput, ImageInput, seconds
from ovseg_ros.ros.loading import load_segmenter
from ovseg_ros.ros.outputs import Outputs
from ovseg_ros.ros.parameters import Parameters, Settings
from ovseg_ros.ros.vocabulary_services import VocabularyServices
from ovseg_ros.ros.worker import NewestWorker, RateLimit

if TYPE_CHECKING:
    from ovseg_ros.segmenter import Segmenter

LOG_PERIOD = 30.0  # seconds between two sentences of one kind
QUIET = ("no subscriber", "rate", "loading")  # reasons to drop a frame that the user knows


@dataclass(frozen=True)
class Frame:
    """An image message on its way to the worker."""

    message: Any
    decode: Callable[[Any], Any]
    arrived: float


class SegmentNode(ros.Node):
    """Segments images of `image` into the classes of its vocabulary.

    Args:
        segmenter: makes the segmenter of the settings, in the worker thread; its errors end the node.
        arguments: those of `rclpy.node.Node`.
    """

    def __init__(self, segmenter: Callable[[Settings], Segmenter] | None = None, **arguments: Any) -> None:
        super().__init__("ovseg", **arguments)
        self._load_segmenter = segmenter or partial(load_segmenter, progress=self._on_build)
        self._build = ""  # how far the engine's build is, for the diagnostics
        self._segmenter: Segmenter | None = None
        self._loaded = threading.Event()
        self.exit_code = 0  # of the process, once the node has ended
        self._health, self._throttle = Health(), Throttle(LOG_PERIOD)
        self._parameter_set = Parameters(self, lambda words: self._vocabulary.use_words(words), self._apply_settings)
        self._rate_limit = RateLimit(self._settings().max_rate)

        images, others = ros.MutuallyExclusiveCallbackGroup(), ros.MutuallyExclusiveCallbackGroup()
        self._depth_input = DepthInput(self, self._settings, images)
        self._outputs = Outputs(self, self._settings, self._depth_input.at, self._warn_once)
        self._worker = NewestWorker[Frame](self._process_frame, self._frame_replaced, self._frame_failed)
        self._image_input = ImageInput(self, self._settings, self._on_image, images)
        self._vocabulary = VocabularyServices(
            self, self._settings, self._await_segmenter, self._parameter_set.show_words, self._call_announce
        )
        self._diagnostic_publisher = self.create_publisher(ros.DiagnosticArray, "/diagnostics", 10)
        # steady: a simulation that pauses /clock must not silence the node
        steady = ros.Clock(clock_type=ros.ClockType.STEADY_TIME)
        self.create_timer(1.0, self._look_around, callback_group=others, clock=steady)
        if (period := self._settings().diagnostics_period) > 0:
            self.create_timer(period, self._publish_diagnostics, callback_group=others, clock=steady)
        self._worker.call(self._load_model)
        self._worker.start()

    def close(self) -> None:
        """End the worker; the node publishes nothing after this."""
        self._worker.stop()
        self._loaded.set()  # a service call may be waiting

    # Frames

    def _on_image(self, message: Any, decode: Callable[[Any], Any]) -> None:
        if self._health.silence > self._settings().image_timeout > 0:
            self._warn_once("image", f"images on {self._image_input.topic} again, after {self._health.silence:.0f} s")
        self._health.received()
        if not self._outputs.wanted():
            self._drop_frame("no subscriber")
        elif self._segmenter is None:
            self._drop_frame("loading")
        elif not self._rate_limit.admit():
            self._drop_frame("rate")
        else:
            self._worker.offer(Frame(message, decode, monotonic()))

    def _process_frame(self, frame: Frame) -> None:
        """Segment a frame and publish the result; in the worker thread."""
        assert self._segmenter is not None
        header = frame.message.header
        try:
            rgb = frame.decode(frame.message)
            result = self._segmenter.segment(rgb)
        except OvsegError as error:
            reason = error.reason if isinstance(error, ImageError) else "engine"
            self._drop_frame(reason, f"{self._image_input.topic}: {error}")
            return
        self._outputs.publish(header, rgb, result)
        stamp, now = seconds(header.stamp), self.get_clock().now().nanoseconds * 1e-9
        age = (now - stamp) * 1e3 if stamp else None
        self._health.published(result.engine_ms, (monotonic() - frame.arrived) * 1e3, age)

    def _frame_replaced(self, _: Frame) -> None:
        self._drop_frame("queue", "frames come faster than the engine takes them; the newest wins")

    def _frame_failed(self, error: Exception) -> None:
        if self.context.ok():  # after shutdown, publishing fails and that is right
            self._drop_frame("internal", f"{type(error).__name__}: {error}")

    def callback_failed(self, error: Exception) -> None:
        """Report what a callback raised, such as a request with broken text; the node goes on."""
        self._warn_once("callback", f"a callback failed: {type(error).__name__}: {error}")

    def _drop_frame(self, reason: str, sentence: str = "") -> None:
        self._health.drop(reason)
        if reason not in QUIET:
            self._warn_once(reason, f"dropped a frame ({reason}): {sentence}")

    def _warn_once(self, kind: str, sentence: str) -> None:
        if (held := self._throttle.admit(kind)) is not None:
            self.get_logger().warning(sentence + (f" ({held} more since the last such line)" if held else ""))

    # Words and settings

    def _load_model(self) -> None:
        """Load the model; in the worker thread, so that the node is up meanwhile."""
        settings, started = self._settings(), monotonic()
        try:
            self._vocabulary.open_lexicon()  # first, as a build takes long and this may fail
            segmenter = self._load_segmenter(settings)
            segmenter.threshold = settings.threshold
            self._vocabulary.add_synonyms(segmenter)
        except KeyboardInterrupt:  # shut down while an engine was being built
            return
        except Exception as error:
            known = isinstance(error, OvsegError)
            self.exit_code = 2 if known else 1
            self.get_logger().fatal(str(error) if known else f"{type(error).__name__}: {error}")
            self.context.try_shutdown()
            return
        self._outputs.announce(segmenter.vocabulary, self._header())
        self._segmenter = segmenter
        self._parameter_set.show_words(segmenter.vocabulary.entries)
        self._loaded.set()
        words = ", ".join(segmenter.vocabulary.names[:8]) + (", ..." if len(segmenter.vocabulary) > 8 else "")
        self.get_logger().info(
            f"{segmenter.model} on {settings.device} ready after {monotonic() - started:.1f} s; "
            f"{self._image_input.topic} -> {self.get_fully_qualified_name()}/mask; "
            f"{len(segmenter.vocabulary)} classes: {words}"
        )

    def _on_build(self, phase: str, done: int, total: int) -> None:
        self._build = f": {phase}, {done} of {total}"
        if not self.context.ok():
            raise KeyboardInterrupt  # cancels the build

    def _await_segmenter(self, patience: float) -> Segmenter | None:
        self._loaded.wait(patience)
        return self._segmenter

    def _call_announce(self) -> None:
        self._worker.call(self._announce_words)

    def _announce_words(self) -> None:
        if self._segmenter is not None:
            self._outputs.announce(self._segmenter.vocabulary, self._header())

    def _apply_settings(self, settings: Settings) -> None:
        """Live parameters changed."""
        self._rate_limit.rate = settings.max_rate
        if self._segmenter is not None:
            self._segmenter.threshold = settings.threshold
        self._call_announce()

    def _settings(self) -> Settings:
        return self._parameter_set.settings

    def _header(self) -> Any:
        return ros.Header(stamp=self.get_clock().now().to_msg())

    # Watching

    def _look_around(self) -> None:
        """Follow publishers and subscribers as they come and go, and say what is wrong."""
        self._image_input.adapt()
        self._depth_input.want(self._outputs.wanted("points"))
        if problem := self._silence():
            self._warn_once("silence", problem)
        me = (self.get_name(), self.get_namespace())
        twins = self.get_node_names_and_namespaces().count(me)
        if twins > 1:
            name = self.get_fully_qualified_name()
            self._warn_once("twins", f"{twins} nodes are called {name}; start others with --ros-args -r __node:=NAME")

    def _silence(self) -> str | None:
        silence, patience = self._health.silence, self._settings().image_timeout
        if not 0 < patience < silence:
            return None
        return f"no image for {silence:.0f} s on {self._image_input.topic}: {self._image_input.explain()}"

    def _publish_diagnostics(self) -> None:
        settings, segmenter, report = self._settings(), self._segmenter, self._health.report()
        problem = self._silence() or refusal(report, (*QUIET, "queue"))
        if segmenter is None:
            problem = f"loading the model {settings.model}{self._build}"
        facts = {"topic": self._image_input.topic, "max rate": f"{settings.max_rate:g}"}
        if segmenter is not None:
            facts.update(classes=str(len(segmenter.vocabulary)), vocabulary=str(segmenter.vocabulary.version))
        message = diagnostic_message(
            f"{self.get_fully_qualified_name().lstrip('/')}: segmentation",
            f"{settings.model} on {settings.device}",
            report,
            problem,
            facts,
        )
        message.header = self._header()
        self._diagnostic_publisher.publish(message)


def main(args: Sequence[str] | None = None, segmenter: Callable[[Settings], Segmenter] | None = None) -> int:
    """Run the node until Ctrl-C or SIGTERM; `args` as in `sys.argv`. Returns the exit code:
    0 after a clean end, 2 where an argument, parameter, model or vocabulary can't be used, 1 for other failures.
    """
    node = None
    try:
        ros.rclpy.init(args=None if args is None else list(args))
        node = SegmentNode(segmenter)
        executor = ros.MultiThreadedExecutor(num_threads=2)
        executor.add_node(node)
    except KeyboardInterrupt:
        return 0
    except (OvsegError, RuntimeError) as error:  # rcl's errors are RuntimeErrors
        print(f"ovseg: {error}", file=sys.stderr)
        ros.rclpy.try_shutdown()
        return 2
    try:
        while ros.rclpy.ok():
            try:
                executor.spin()
            except ros.ExternalShutdownException:
                break
            except Exception as error:
                if ros.rclpy.ok():  # else spinning failed because the graph was shut down meanwhile
                    node.callback_failed(error)
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # launch sends one more; the end must not be interrupted
        node.close()
        ros.rclpy.try_shutdown()
    return node.exit_code
