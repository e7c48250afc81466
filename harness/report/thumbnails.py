"""Small copies of a benchmark's images, named by the checksum of the original's bytes; or why there is none."""

from __future__ import annotations

import io
import logging
from hashlib import sha256
from pathlib import Path

from harness.datasets.base import Dataset, ImageError
from harness.datasets.opening import open_dataset
from harness.engine.images import crop_margins
from harness.errors import HarnessError
from harness.records import ImageRef, TaskPlan

logger = logging.getLogger(__name__)

LONGEST_PX = 360
_QUALITY = 55
_DRAWN_COLOURS = 2048
"""Pictures of at most so many colours are drawings; only for those is lossless form tried, which is slow."""


class Thumbnails:
    """Writes each image once, however many samples and tasks show it."""

    def __init__(self, folder: Path, data: Path | None) -> None:
        """Write to `folder`; read from `data`, or from the bundled data where a task ran on it."""
        self._folder, self._data = folder, data
        self._readers: dict[str, Dataset | str] = {}
        self._done: dict[tuple[str, str], str] = {}
        self._known: set[str] = set()
        self.absent = 0
        """How many images of samples could not be shown."""

    @property
    def count(self) -> int:
        """How many files were written."""
        return len(self._known)

    def show(self, plan: TaskPlan, image: ImageRef, checksum: str | None) -> tuple[str, str]:
        """(file name, "") of the small copy, or ("", reason).

        Args:
            checksum: SHA-256 of the bytes that the models were shown, where a run has it; other bytes are not shown.
        """
        name, reason = self._make(plan, image, checksum)
        self.absent += not name
        return name, reason

    def _make(self, plan: TaskPlan, image: ImageRef, checksum: str | None) -> tuple[str, str]:
        reader = self._reader(plan)
        if isinstance(reader, str):
            return "", reader
        place = (f"{plan.dataset} {sorted(plan.options.items())} {plan.image_steps}", image.key)
        if place in self._done:
            return self._done[place], ""
        try:
            content = reader.image_bytes(image)
            found = sha256(content).hexdigest()
            if checksum and found != checksum:
                return "", f"{image.locator}: is not the image that the models were shown; its bytes have changed"
            crop = "crop_margins" in plan.image_steps
            name = f"{found[:16]}{'-cut' if crop else ''}.webp"
            if name not in self._known:
                (self._folder / name).write_bytes(_small(content, image.locator, crop=crop))
                self._known.add(name)
        except ImageError as error:
            return "", str(error)
        self._done[place] = name
        return name, ""

    def _reader(self, plan: TaskPlan) -> Dataset | str:
        key = f"{plan.dataset} {sorted(plan.options.items())} {plan.data}"
        if key not in self._readers:
            self._readers[key] = self._opened(plan)
        return self._readers[key]

    def _opened(self, plan: TaskPlan) -> Dataset | str:
        if self._data is None and plan.data != "bundled":
            return f"images of {plan.dataset} are not in this report; build it with --data FOLDER to include them"
        try:
            return open_dataset(plan.dataset, self._data if plan.data != "bundled" else None, plan.options)
        except HarnessError as error:
            logger.warning("%s: the report is without images: %s", plan.name, error)
            return f"images of {plan.dataset} are not in this report: its data could not be opened when it was built"


def _small(content: bytes, locator: str, *, crop: bool) -> bytes:
    """WebP of at most `LONGEST_PX` on the longer side; lossless where that is smaller, as for many drawings."""
    from harness.datasets.images import decode

    picture = decode(content, locator)
    if crop:
        (picture,) = crop_margins((picture,))
    drawn = picture.getcolors(_DRAWN_COLOURS) is not None
    picture.thumbnail((LONGEST_PX, LONGEST_PX))
    forms = []
    for lossless in (False, True) if drawn else (False,):
        out = io.BytesIO()
        picture.save(out, "WEBP", quality=_QUALITY, lossless=lossless, method=2)
        forms.append(out.getvalue())
    return min(forms, key=len)
