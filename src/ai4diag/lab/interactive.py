"""A volume to scroll through, by ipyniivue, with its picture beside it in the same output.

The view needs its kernel. What is saved is the picture (`ai4diag.jupyter.saving`), and what has no kernel, such as an
exported page, shows the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.util import find_spec
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from ai4diag.errors import MachineError
from ai4diag.lab.marks import Mark
from ai4diag.lab.volume import Shown3d
from ai4diag.shown import Shown

COLOURS = {"truth": "redyell", "model's answer": "winter", "to ignore": "gray"}
"""Colour tables of niivue."""
NAMED = {"truth": "red to yellow", "model's answer": "blue to green", "to ignore": "grey"}
HEIGHT_PX = 420
OPACITY = 0.4


class Interactive(Shown):
    """A case with a view that can be scrolled; `view` is ipyniivue's widget, for those who want more of it.

    Args:
        still: the case, whose picture stands where there is no view.
        shown: its volume.
        affine: from its voxels to millimetres (RAS+), `(4, 4)`.

    Raises:
        MachineError: ipyniivue is not installed.
    """

    def __init__(self, still: Shown, shown: Shown3d, affine: npt.NDArray[np.float64]) -> None:
        if find_spec("ipyniivue") is None:
            raise MachineError(
                "ipyniivue is not installed.", "Run `pip install 'ai4diag[lab]'`; the picture needs none."
            )
        self.still, self.shown = still, shown
        self.view = _view(shown, affine)

    def __str__(self) -> str:
        return str(self.still)

    def html(self) -> str:
        """Return what the case shows: this is what stays in a saved notebook."""
        return self.still.html()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        from ipywidgets import HTML, VBox  # type: ignore[import-untyped]

        words = HTML(f"<p>{escape(self._words)}</p>")
        view: dict[str, Any] = VBox([words, self.view])._repr_mimebundle_()
        return view | super()._repr_mimebundle_()

    @property
    def _words(self) -> str:
        order = f", its classes in the order {', '.join(self.shown.classes)}" if len(self.shown.classes) > 1 else ""
        colours = [f"{kind} in {NAMED[kind]}{order if self.shown.masks else ''}" for kind in overlays(self.shown)]
        over = f" Overlaid: {'; '.join(colours)}." if colours else ""
        return f"{str(self.still).splitlines()[0]}. Radiological convention; scroll, or drag the cross.{over}"


def overlays(shown: Shown3d) -> dict[str, npt.NDArray[np.uint8]]:
    """Return what lies over the volume, on its grid: label maps, or boxes as the voxels of their faces."""
    if shown.masks:
        return dict(shown.masks)
    kinds = {mark.kind for mark in shown.marks}
    return {
        kind: _faces([mark for mark in shown.marks if mark.kind == kind], shown.grey.shape)
        for kind in COLOURS
        if kind in kinds
    }


def _faces(marks: Sequence[Mark], sides: Sequence[int]) -> npt.NDArray[np.uint8]:
    found = np.zeros(tuple(sides), np.uint8)
    for mark in marks:
        low = np.clip(np.floor(mark.box[:3]).astype(int), 0, np.array(sides) - 1)
        high = np.clip(np.ceil(mark.box[3:]).astype(int), low + 1, sides)
        hollow = np.ones(high - low, np.uint8)
        hollow[1:-1, 1:-1, 1:-1] = 0
        found[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] |= hollow
    return found


def _view(shown: Shown3d, affine: npt.NDArray[np.float64]) -> Any:
    from ipyniivue import NiiVue  # type: ignore[import-untyped]

    layers = [("volume", shown.grey, "gray", 1.0)]
    layers += [(kind, mask, COLOURS[kind], OPACITY) for kind, mask in overlays(shown).items()]
    view = NiiVue(height=HEIGHT_PX)
    view.opts.is_radiological_convention = view.opts.sagittal_nose_left = True  # as in the picture
    view.opts.crosshair_width = 0.3
    view.load_volumes(
        [
            {"name": f"{name}.nii", "data": _nifti(array, affine), "colormap": colours, "opacity": opacity}
            for name, array, colours, opacity in layers
        ]
    )
    return view


def _nifti(array: npt.NDArray[np.uint8], affine: npt.NDArray[np.float64]) -> bytes:
    content: bytes = nib.Nifti1Image(array, affine).to_bytes()
    return content
