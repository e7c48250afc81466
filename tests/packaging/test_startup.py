"""Start-up stays light: what `import harness` and `harness --help` may not load, seen in a fresh process."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"torch", "transformers", "pandas", "matplotlib", "scipy", "pyarrow", "numpy", "PIL", "datasets"}

COMMAND = "sys.argv = {}\nfrom harness.cli.main import main\ntry:\n main()\nexcept SystemExit: pass"


def loaded_by(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint('\\n'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stderr.splitlines()}


@pytest.mark.parametrize(
    "code",
    [
        "import harness",
        "import harness; dir(harness); harness.__version__",
        COMMAND.format(["harness", "--help"]),
        COMMAND.format(["harness", "run", "--help"]),
    ],
)
def test_start_up_loads_no_heavy_library(code: str) -> None:
    assert loaded_by(code) & HEAVY == set()


def test_a_card_is_loaded_without_tensor_libraries() -> None:
    heavy = loaded_by("import harness; harness.load_card('llava-1.5-7b'); harness.load_suite('mini')")
    assert heavy & {"torch", "transformers", "pandas", "matplotlib", "scipy"} == set()


def test_a_control_run_needs_no_tensor_library(tmp_path: object) -> None:
    code = f"import harness; harness.run_suite('smoke', ['majority-answer'], out={str(tmp_path)!r})"
    assert loaded_by(code) & {"torch", "transformers", "matplotlib"} == set()
