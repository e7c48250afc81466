"""Text recognition as a control: what could be answered by reading the letters in a picture and nothing more?

The package `rapidocr` carries the weights of PP-OCRv6 (detection, line direction, recognition) as ONNX files; they are
given to it by path, so that it never looks for others on the network. One thread gives the same sums on every machine.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from harness.errors import ModelError
from harness.fingerprint import file_sha256
from harness.models.base import Generation, Model, ModelInput, Options, checked_options
from harness.models.decoding import cut_at
from harness.records import Capabilities, GenerationSettings, ModelIdentity, ModelSettings, Problem

if TYPE_CHECKING:
    from PIL.Image import Image

_LIBRARIES = ("rapidocr", "onnxruntime", "opencv-python-headless", "numpy", "pyclipper", "shapely")
_PARTS = {
    "Det": "PP-OCRv6_det_small.onnx",
    "Cls": "ch_ppocr_mobile_v2.0_cls_mobile.onnx",
    "Rec": "PP-OCRv6_rec_small.onnx",
}
"""Part of the pipeline → its file inside the installed package."""


class OcrOptions(Options):
    """Options of text recognition; the defaults are those of rapidocr 3.10, but for the number of threads."""

    min_score: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Lines that the recogniser is less sure of are left out."""
    box_threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Regions that the detector is less sure of are not read."""
    upside_down: bool = True
    """Whether lines that stand on their head are found and turned."""
    max_side_px: Annotated[int, Field(ge=32)] = 2000
    """Larger images are scaled down to this longer side before anything is looked for."""
    threads: Annotated[int, Field(ge=1)] = 1
    """Another number can change the last digits of a score, and so a line at the threshold."""


class Ocr(Model):
    """PP-OCRv6 through rapidocr: all lines of a picture, from top to bottom and left to right, joined by newlines.

    The prompt plays no part. An equal picture is read once; a picture without text has an empty answer.
    """

    family = "ocr"
    requires: ClassVar[tuple[str, ...]] = ("rapidocr", "onnxruntime")
    extra: ClassVar[str] = "ocr"
    options_type: ClassVar[type[Options]] = OcrOptions

    def __init__(self, settings: ModelSettings, options: OcrOptions, engine: Any) -> None:
        super().__init__(settings)
        self.options = options
        self.engine = engine
        self._read: dict[str, str] = {}

    @classmethod
    def capabilities(cls, settings: ModelSettings) -> Capabilities:
        """One image at a time."""
        return Capabilities(min_images=1, max_images=1, batching="single")

    @classmethod
    def _opened(cls, settings: ModelSettings) -> tuple[OcrOptions, dict[str, Path]]:
        options = checked_options(settings, OcrOptions)
        if settings.checkpoint:
            raise ModelError(f"{settings.name}: the weights of family ocr come with rapidocr; take run.checkpoint out")
        if settings.device not in ("auto", "cpu"):
            raise ModelError(f"{settings.name}: run.device is {settings.device!r}; family ocr runs on cpu")
        if settings.dtype not in ("auto", "float32"):
            raise ModelError(f"{settings.name}: run.dtype is {settings.dtype!r}; family ocr runs in float32")
        _versions()
        found = importlib.util.find_spec("rapidocr")
        if found is None or found.origin is None:
            raise ModelError(f'{settings.name}: rapidocr cannot be imported; pip install "vlm-harness[ocr]"')
        folder = Path(found.origin).parent / "models"
        files = {part: folder / name for part, name in _PARTS.items()}
        for file in files.values():
            if not file.is_file():
                raise ModelError(f"{settings.name}: {file} is missing; install rapidocr>=3.10,<3.11 again")
        return options, files

    @classmethod
    def identify(cls, settings: ModelSettings) -> ModelIdentity:
        """The ONNX files by hash, with options and the versions of what reads them."""
        options, files = cls._opened(settings)
        hashes = {file.name: file_sha256(file) for file in files.values()}
        digest = hashlib.sha256("".join(f"{name} {hashes[name]}\n" for name in sorted(hashes)).encode()).hexdigest()
        processing = {"files": hashes, "libraries": _versions(), **options.model_dump()}
        return ModelIdentity(settings, f"sha256:{digest}", processing)

    @classmethod
    def load(cls, settings: ModelSettings) -> Ocr:
        """The three networks on the CPU.

        Raises:
            ModelError: a file of weights cannot be read.
        """
        options, files = cls._opened(settings)
        return cls(settings, options, _engine(settings, options, files))

    def generate(self, prepared: Any, settings: GenerationSettings) -> list[Generation | Problem]:
        """The text in each image; generation settings other than `stop` have no meaning here."""
        batch: Sequence[ModelInput] = prepared
        return [self._answer(item, settings) for item in batch]

    def _answer(self, item: ModelInput, settings: GenerationSettings) -> Generation | Problem:
        if len(item.images) != 1:
            return Problem("unsupported_input", f"family ocr takes 1 image; here are {len(item.images)}")
        image = item.images[0]
        key = hashlib.sha256(f"{image.mode} {image.size}".encode() + image.tobytes()).hexdigest()
        if key not in self._read:
            self._read[key] = self.read(image)
        return Generation(cut_at(self._read[key], settings.stop))

    def read(self, image: Image) -> str:
        """The lines of one image in reading order."""
        found = self.engine(image.convert("RGB"))
        return "\n".join(getattr(found, "txts", None) or ())

    def close(self) -> None:
        """Drop the networks and what was read."""
        del self.engine
        self._read = {}


def _versions() -> dict[str, str]:
    """Library → version.

    Raises:
        ModelError: one of them is not installed.
    """
    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError as error:
            raise ModelError(f'{name} is not installed; pip install "vlm-harness[ocr]"') from error
    return versions


def _engine(settings: ModelSettings, options: OcrOptions, files: dict[str, Path]) -> Any:
    from rapidocr import RapidOCR

    engine: Any = RapidOCR(
        params={
            "Global.text_score": options.min_score,
            "Global.use_cls": options.upside_down,
            "Global.max_side_len": options.max_side_px,
            "Global.log_level": "critical",
            "Det.box_thresh": options.box_threshold,
            "EngineConfig.onnxruntime.intra_op_num_threads": options.threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            **{f"{part}.model_path": str(path) for part, path in files.items()},
        }
    )
    # The package reads each file when it is first used; a damaged one must stop the model, not one sample.
    try:
        engine._load_det_model()
        engine._load_rec_model()
        if options.upside_down:
            engine._load_cls_model()
    except Exception as error:
        names = ", ".join(path.name for path in files.values())
        raise ModelError(
            f"{settings.name}: {names} cannot be read by onnxruntime ({type(error).__name__}: {error}); "
            "install rapidocr again"
        ) from error
    return engine
