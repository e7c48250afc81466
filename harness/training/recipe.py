"""A recipe: what is trained, on what, how long; written by people as YAML, unknown keys refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from harness.cards.schema import Spec, Text
from harness.errors import TrainingError, UnknownNameError
from harness.fingerprint import fingerprint
from harness.vocabulary import Domain, Fusion, TaskKind
from harness.yaml_files import checked, read_yaml


class SourcePart(Spec):
    """One source of examples and its share of the batches."""

    source: Text
    """`scenes`, `statements`, `charts`, `formulas`; from files `captions`, `latex-formulas`, `llava-recap`."""
    share: float = Field(1.0, gt=0)
    """How often an example is of this source, relative to the others."""
    begin: float = Field(0.0, ge=0, lt=1)
    """Share of the training after which the part joins in."""
    end: float = Field(1.0, gt=0, le=1)
    """Share of the training after which it leaves; a part that leaves is not validated."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Settings of the source."""


class Optimiser(Spec):
    """AdamW with a warm-up and a cosine."""

    learning_rate: float = Field(gt=0)
    batch: int = Field(32, ge=1)
    accumulate: int = Field(1, ge=1)
    """Batches that make one step."""
    steps: int = Field(ge=1)
    warm_up: int = Field(100, ge=0)
    """Steps until the full learning rate."""
    last: float = Field(0.03, ge=0, le=1)
    """Learning rate at the end, as a share of the full one."""
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = Field(0.05, ge=0)
    """On matrices that are no embeddings."""
    clip: float = Field(1.0, gt=0)
    """Largest norm of all gradients together."""


class Validation(Spec):
    """How often and on how many held-out examples."""

    every: int = Field(500, ge=1)
    """Steps between two validations; the last step is always followed by one."""
    examples: int = Field(256, ge=1)
    max_new_tokens: int = Field(48, ge=1)
    patience: int | None = Field(None, ge=1)
    """Stop after so many validations without a better one; `null` never stops early."""


class About(Spec):
    """What the tables print of the model; counts of parameters, layers and examples are taken from the network and the
    training."""

    title: Text
    vision_encoder: Text | None
    """`null` for a model without eyes."""
    input_px: int | None = None
    """Side of the input, or the longer one."""
    patch_px: int | None = None
    """Side of the cell that a vector begins with."""
    image_tokens: int | None = None
    """Positions of one image in the language model."""
    connector: Text | None = None
    language_model: Text
    fusion: Fusion
    frozen: list[Text] = Field(default_factory=list)
    """Parts that are not trained."""
    tasks: list[TaskKind]
    domain: Domain = "synthetic"
    limits: list[Text] = Field(default_factory=list)


class Recipe(Spec):
    """One training."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=80)]
    """Name of the model card that is written."""
    description: Text
    trainee: Text
    """What is trained: `wavelet`, `llava`, `blip2`, `mplug`."""
    network: dict[str, Any] = Field(default_factory=dict)
    """Sizes and design, checked by the trainee."""
    data: list[SourcePart] = Field(min_length=1)
    optimiser: Optimiser
    validation: Validation = Validation()
    seed: int = Field(0, ge=0)
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number type of forward and backward; masters are float32. `auto` is bfloat16 where the processor multiplies it in
    hardware, float32 elsewhere."""
    about: About | None = None
    """What the card's tables print."""

    def identity(self) -> str:
        """Hash of everything that decides what the training makes; words about it are left out."""
        return fingerprint(self.model_dump(mode="json", exclude={"description", "about"}))


def read_recipe(path: Path) -> Recipe:
    """The recipe in a YAML file.

    Raises:
        TrainingError: naming file, line and field.
    """
    return checked(read_yaml(path, TrainingError), Recipe, TrainingError)


def bundled_recipes() -> Path:
    """Folder of the recipes of the nano zoo and of the published designs."""
    return Path(__file__).parent / "recipes"


def find_recipe(name: str) -> Path:
    """The recipe of that name among the bundled ones, or the file itself.

    Raises:
        UnknownNameError: with the nearest name.
        TrainingError: there is no such file.
    """
    if name.endswith((".yaml", ".yml")):
        if not Path(name).is_file():
            raise TrainingError(f"{name}: there is no such recipe")
        return Path(name)
    known = {path.stem: path for path in sorted(bundled_recipes().glob("*.yaml"))}
    if name not in known:
        raise UnknownNameError.of("recipe", name, known)
    return known[name]


def changed(recipe: Recipe, *, seed: int | None = None, steps: int | None = None) -> Recipe:
    """The recipe with another seed or number of steps."""
    optimiser = recipe.optimiser.model_copy(update={} if steps is None else {"steps": steps})
    return recipe.model_copy(update={"optimiser": optimiser, **({} if seed is None else {"seed": seed})})
