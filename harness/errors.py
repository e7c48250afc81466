"""The one tree of errors. Every message names the file, the field or the sample, and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HarnessError(Exception):
    """Base of every error that a user can cause or must know; the command line prints it without a traceback."""


class CardError(HarnessError):
    """A model card is unreadable, incomplete or says something impossible."""


class SuiteError(HarnessError):
    """A suite, task or prompt file is unreadable, incomplete or names something that is not there."""


class UnknownNameError(HarnessError):
    """A name that no registry holds."""

    @classmethod
    def of(cls, kind: str, name: str, known: Iterable[str], listing: str = "") -> UnknownNameError:
        """The error for `name`, with the nearest known names and the command that lists them all."""
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f'; did you mean "{near[0]}"?' if near else "."
        where = f" `{listing}` shows all {len(names)}." if listing else ""
        return cls(f'no {kind} named "{name}"{hint}{where}')


class RegistryError(HarnessError):
    """A plugin cannot be loaded, or two owners claim one name."""


class DatasetError(HarnessError):
    """Benchmark files are missing, unreadable or not in the layout they should have."""


class PredictionError(HarnessError):
    """A file of answers is unreadable, of an unknown form, or disagrees with the data set."""


class ModelError(HarnessError):
    """A model cannot be loaded or cannot answer."""


class ModelOutOfMemory(ModelError):
    """The batch does not fit; the engine asks again with a smaller one."""


class MetricError(HarnessError):
    """A metric was given something that has no score, such as a reference that is no table."""


class MetricUnavailable(MetricError):
    """A metric cannot run here (no Java, no TeX engine); its value is "not computed" with this reason."""


class StoreError(HarnessError):
    """A run folder is damaged, in use, or of a later schema version."""


class CompareError(HarnessError):
    """Runs that cannot stand in one table; every difference is named."""


class NightlyError(HarnessError):
    """A nightly configuration or an accepted baseline is unreadable, incomplete or names what is not there."""


class TrainingError(HarnessError):
    """A recipe is wrong, or a training cannot start, go on or write its checkpoint; the file and field are named."""
