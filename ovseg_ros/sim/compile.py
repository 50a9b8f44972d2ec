"""Turn a scene into a MuJoCo model: one mesh geom for each part, textures from memory, lights."""

from __future__ import annotations

from typing import Any

import numpy as np

from ovseg_ros.sim.parts import Material, Part, Texture
from ovseg_ros.sim.scene import Scene

NEAR, FAR = 0.04, 40.0  # metres


class Compiler:
    """Builds one MuJoCo model; `owner[geom]` is the number (from 1) of the object that a geom belongs to."""

    def __init__(self, mujoco: Any) -> None:
        self.mujoco = mujoco
        self.spec = mujoco.MjSpec()
        self.owner: list[int] = []
        self._textures: dict[int, str] = {}
        self._materials: dict[Material, str] = {}

    def compile(self, scene: Scene) -> Any:
        """The model of a scene."""
        for number, item in enumerate(scene.placed, start=1):
            for part in item.parts:
                self._geom(part)
                self.owner.append(number)
        self._lights(scene)
        model = self.spec.compile()
        model.stat.extent = 1.0
        model.vis.map.znear, model.vis.map.zfar = NEAR, FAR
        model.vis.headlight.ambient[:] = scene.lighting.ambient
        model.vis.headlight.diffuse[:] = scene.lighting.camera
        model.vis.headlight.specular[:] = 0.1
        return model

    def _geom(self, part: Part) -> None:
        name = f"m{len(self.owner)}"
        mesh = part.mesh
        corners = mesh.faces.ravel()  # one vertex a corner: MuJoCo turns normals rightly only where they match vertices
        each = np.arange(len(corners), dtype=np.int32)
        uv = {}
        if part.material.texture is not None:
            uv = {"usertexcoord": (mesh.uv[corners] / part.material.tile).ravel(), "userfacetexcoord": each}
        self.spec.add_mesh(
            name=name,
            uservert=mesh.vertices[corners].ravel(),
            userface=each,
            usernormal=mesh.corner_normals().ravel(),
            userfacenormal=each,
            inertia=self.mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
            **uv,
        )
        self.spec.worldbody.add_geom(
            type=self.mujoco.mjtGeom.mjGEOM_MESH,
            meshname=name,
            material=self._material(part.material),
            contype=0,
            conaffinity=0,
        )

    def _material(self, material: Material) -> str:
        """The name of a material in the model, added when first met."""
        if material not in self._materials:
            name = self._materials[material] = f"s{len(self._materials)}"
            made = self.spec.add_material(
                name=name,
                rgba=[*material.rgb, 1.0],
                specular=material.specular,
                shininess=material.shininess,
                emission=material.emission,
            )
            if material.texture is not None:
                made.textures[self.mujoco.mjtTextureRole.mjTEXROLE_RGB] = self._texture(material.texture)
        return self._materials[material]

    def _texture(self, texture: Texture) -> str:
        """The name of a texture in the model, added when first met."""
        if id(texture) not in self._textures:
            name = self._textures[id(texture)] = f"t{len(self._textures)}"
            height, width = texture.pixels.shape[:2]
            made = self.spec.add_texture(
                name=name, type=self.mujoco.mjtTexture.mjTEXTURE_2D, width=width, height=height, nchannel=3
            )
            made.data = np.ascontiguousarray(texture.pixels).tobytes()
        return self._textures[id(texture)]

    def _lights(self, scene: Scene) -> None:
        types = self.mujoco.mjtLightType
        for light in scene.lighting.lights:
            self.spec.worldbody.add_light(
                type=types.mjLIGHT_DIRECTIONAL if light.directional else types.mjLIGHT_POINT,
                pos=light.position,
                dir=light.direction,
                diffuse=light.diffuse,
                ambient=[0, 0, 0],
                specular=[0.2, 0.2, 0.2],
                attenuation=[1, 0, 0] if light.directional else [0.85, 0, 0.015],
                castshadow=False,
            )
