"""Draw the frames of a scene: colour in one pass, the object of every pixel and its depth in a second."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.sim import gl
from ovseg_ros.sim.compile import FAR, NEAR, Compiler
from ovseg_ros.sim.frame import Frame, SimObject
from ovseg_ros.sim.scene import Scene

LARGEST = 4096


class Simulator:
    """A camera in one procedural scene; use it from the thread that made it, and close it."""

    live = True
    note = ""  # a recording that stands in for a simulator explains itself here

    def __init__(
        self, seed: int, *, width: int = 640, height: int = 480, family: str | None = None, samples: int = 0
    ) -> None:
        """Build and load the scene of a seed.

        Args:
            seed: whole number from 0; from EVALUATION_SEEDS on, held-out colour and kind pairs occur.
            width: pixels, 16..4096.
            height: pixels, 16..4096.
            family: 'room', 'table' or 'warehouse'; the seed chooses unless given.
            samples: samples a pixel against jagged edges in the colour image (0, 2, 4; slower).

        Raises:
            ValueError: a seed, size or family that cannot be.
            NoOpenGL: neither EGL nor OSMesa can draw here.
        """
        for name, size in (("width", width), ("height", height)):
            if not 16 <= size <= LARGEST:
                raise ValueError(f"The {name} {size} is outside 16..{LARGEST} pixels; choose one inside.")
        self._mujoco: Any = None
        self.scene = Scene.build(seed, family)
        self.width, self.height = int(width), int(height)
        mujoco = gl.load_mujoco()
        compiler = Compiler(mujoco)
        self._model = compiler.compile(self.scene)
        self._model.vis.global_.offwidth, self._model.vis.global_.offheight = self.width, self.height
        self._model.vis.quality.offsamples, self._model.vis.quality.shadowsize = samples, 0
        gl.context()
        self._mujoco = mujoco
        self._drawing = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_50)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._drawing)
        self._drawing.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self._rect = mujoco.MjrRect(0, 0, self.width, self.height)
        self._view = self._load(compiler.owner)

    @property
    def objects(self) -> tuple[SimObject, ...]:
        """The scene's objects; index i in an instance mask is objects[i - 1]."""
        return self.scene.objects

    @property
    def intrinsics(self) -> NDArray[np.float64]:
        """The camera matrix (3, 3) in pixels, square pixels, centre of the image at ((W - 1) / 2, (H - 1) / 2)."""
        focal = self.width / 2 / math.tan(self.scene.field_of_view / 2)
        return np.array([[focal, 0, (self.width - 1) / 2], [0, focal, (self.height - 1) / 2], [0, 0, 1]])

    def render(self, t: float, *, depth: bool = True) -> Frame:
        """The frame at t seconds along the camera's path, which repeats; `depth=False` skips reading depth."""
        if self._mujoco is None:
            raise RuntimeError("The simulator is closed; make a new one to render.")
        if not math.isfinite(t):
            raise ValueError(f"The time {t!r} is not finite; pass seconds such as 1.5.")
        mujoco = self._mujoco
        gl.context()
        pose = self.scene.path.pose(t)
        self._aim(pose)
        rgb = np.empty((self.height, self.width, 3), np.uint8)
        codes = np.empty_like(rgb)
        near = np.empty((self.height, self.width), np.float32) if depth else None
        mujoco.mjr_render(self._rect, self._view, self._drawing)
        mujoco.mjr_readPixels(rgb, None, self._rect, self._drawing)
        flags = self._view.flags
        flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = 1
        mujoco.mjr_render(self._rect, self._view, self._drawing)
        mujoco.mjr_readPixels(codes, near, self._rect, self._drawing)
        flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = 0
        upright: NDArray[np.uint8] = codes[::-1]  # OpenGL's rows run upwards
        instances = upright[..., 0].astype(np.uint16) + (upright[..., 1].astype(np.uint16) << 8)
        return Frame(
            rgb=np.ascontiguousarray(rgb[::-1]),
            instances=instances,
            objects=self.scene.objects,
            intrinsics=self.intrinsics,
            pose=pose,
            time=float(t),
            depth=None if near is None else _metres(near[::-1]),
        )

    def frames(self, count: int, fps: float = 15, *, depth: bool = True) -> Iterator[Frame]:
        """The first `count` frames at a rate."""
        for index in range(count):
            yield self.render(index / fps, depth=depth)

    def close(self) -> None:
        """Free the drawing memory; may be called twice."""
        if self._mujoco is not None:
            gl.context()
            self._drawing.free()
            self._mujoco = None

    def __enter__(self) -> Simulator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _load(self, owner: list[int]) -> Any:
        """MuJoCo's list of things to draw; nothing moves but the camera, so it is filled once."""
        mujoco = self._mujoco
        data = mujoco.MjData(self._model)
        mujoco.mj_forward(self._model, data)
        view = mujoco.MjvScene(self._model, maxgeom=len(owner) + 16)
        every = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(self._model, data, mujoco.MjvOption(), None, mujoco.MjvCamera(), every, view)
        for geom in view.geoms[: view.ngeom]:
            geom.segid = owner[geom.objid] - 1  # drawn as the colour segid + 1
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION, mujoco.mjtRndFlag.mjRND_HAZE):
            view.flags[flag] = 0
        return view

    def _aim(self, pose: NDArray[np.float64]) -> None:
        """Point both of MuJoCo's eyes along a pose."""
        slope = math.tan(self.scene.field_of_view / 2) * self.height / self.width
        for camera in self._view.camera:
            camera.pos, camera.forward, camera.up = pose[:3, 3], pose[:3, 2], -pose[:3, 1]
            camera.frustum_near, camera.frustum_far = NEAR, FAR
            camera.frustum_top, camera.frustum_bottom, camera.frustum_center = NEAR * slope, -NEAR * slope, 0.0
            camera.frustum_width = 0.0


def _metres(reversed_z: NDArray[np.float32]) -> NDArray[np.float32]:
    """Metres along the optical axis from MuJoCo's depth buffer (1 near, 0 far); NaN where nothing was drawn."""
    with np.errstate(divide="ignore"):
        depth = np.float32(NEAR * FAR) / (reversed_z * np.float32(FAR - NEAR) + np.float32(NEAR))
    depth[reversed_z <= 0] = np.nan
    return np.ascontiguousarray(depth)
