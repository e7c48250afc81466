"""The bundled mini benchmarks: a seeded generator and its committed output in the official layouts.

`bundled_data` is the folder that is read where no other is given. The generator draws scenes, charts and formulas fresh
(`scenes.draw`, `charts.draw`, `formulas.draw`, ...), for training as well as for `write.write_mini`.
"""

from __future__ import annotations

from pathlib import Path

from harness.errors import DatasetError


def bundled_data() -> Path:
    """Folder of the committed mini benchmarks: `coco`, `chartqa`, `mmbench`, `scienceqa`, `nlvr2`, `latex`,
    `librispeech`.

    Raises:
        DatasetError: if the installation lacks it.
    """
    folder = Path(__file__).parent / "data"
    if not (folder / "manifest.json").is_file():
        raise DatasetError(f"{folder}: the bundled mini benchmarks are missing; install the package again")
    return folder
