"""Pictures of all worlds at once, traced by MuJoCo Warp on the device that simulates them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import mujoco
import torch
from torch import Tensor

_SHOWN_GROUPS = [0, 1, 2]  # of geoms, as MuJoCo's own renderer shows by default


class WarpRenderer:
    """Trace what cameras see of every world: the scene's materials, lights and sky.

    Pictures look much as MuJoCo's own renderer makes them, and are not the same: choose one of the two for
    demonstrations, training and evaluation alike.

    Args:
        wp, mjw: the modules warp and mujoco_warp.
        model: of the scene.
        device_model, data: what MuJoCo Warp made of it, on its device.
        num_worlds: B.
        cameras: height and width [px] by the camera's name.
        run: does named launches on the engine's device and stream.
    """

    def __init__(
        self,
        wp: Any,
        mjw: Any,
        model: mujoco.MjModel,
        device_model: Any,
        data: Any,
        num_worlds: int,
        cameras: Mapping[str, tuple[int, int]],
        run: Callable[[str, Callable[[], None]], None],
    ) -> None:
        self._wp, self._mjw, self._model, self._data, self._run = wp, mjw, device_model, data, run
        order = sorted(cameras, key=lambda name: int(model.camera(name).id))  # as MuJoCo Warp numbers them
        self._context = mjw.create_render_context(
            model,
            num_worlds,
            cam_res=[(cameras[name][1], cameras[name][0]) for name in order],
            render_rgb=True,
            render_depth=False,
            use_shadows=False,
            enabled_geom_groups=_SHOWN_GROUPS,
            cam_active=order,
            render_skybox=True,
        )
        self._rgb = {name: wp.zeros((num_worlds, *cameras[name]), dtype=wp.vec3f) for name in order}

    def frames(self) -> dict[str, Tensor]:
        """Return what each camera sees of all worlds as they stand, (B, 3, H, W) uint8 RGB on the device."""
        self._run(f"render {id(self)}", self._launch)
        pictures = {name: self._wp.to_torch(rgb).permute(0, 3, 1, 2) for name, rgb in self._rgb.items()}
        return {
            name: (255.0 * picture).round_().clamp_(0.0, 255.0).to(torch.uint8)
            for name, picture in pictures.items()
        }

    def _launch(self) -> None:
        self._mjw.refit_bvh(self._model, self._data, self._context)
        self._mjw.render(self._model, self._data, self._context)
        for index, rgb in enumerate(self._rgb.values()):
            self._mjw.get_rgb(self._context, index, rgb)
