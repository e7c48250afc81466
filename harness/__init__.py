"""A harness that compares vision-language models with the uncertainty of every number.

The functions below are imported when first used, so that `import harness` stays light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.version import __version__

if TYPE_CHECKING:
    from harness.cards.loading import load_card
    from harness.datasets.opening import open_dataset
    from harness.engine.predictions import score_predictions
    from harness.engine.rescore import rescore
    from harness.engine.run import run_suite
    from harness.store.runs import read_run
    from harness.tasks.loading import load_suite

__all__ = [
    "__version__",
    "load_card",
    "load_suite",
    "open_dataset",
    "read_run",
    "rescore",
    "run_suite",
    "score_predictions",
]

_WHERE = {
    "load_card": "harness.cards.loading",
    "load_ipython_extension": "harness.interop.notebook",
    "load_suite": "harness.tasks.loading",
    "open_dataset": "harness.datasets.opening",
    "read_run": "harness.store.runs",
    "rescore": "harness.engine.rescore",
    "run_suite": "harness.engine.run",
    "score_predictions": "harness.engine.predictions",
    "unload_ipython_extension": "harness.interop.notebook",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
