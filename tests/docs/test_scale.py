"""The files of docs/scale.md: shell that parses, YAML that loads, commands that the program knows."""

from __future__ import annotations

import re
import shlex
import subprocess

import yaml

from tests.docs.documents import ROOT
from tests.docs.test_commands import parse

FOLDER = ROOT / "docs" / "scale"


def test_the_batch_script_parses_and_its_command_is_one_the_program_knows() -> None:
    script = FOLDER / "ray.sbatch"
    subprocess.run(["bash", "-n", str(script)], check=True)
    (command,) = re.findall(r"^(harness run .*?) &$", script.read_text().replace("\\\n", " "), re.MULTILINE)
    parse(shlex.split(command))


def test_the_ray_job_loads_and_its_command_is_one_the_program_knows() -> None:
    job = yaml.safe_load((FOLDER / "rayjob.yaml").read_text())
    parse(shlex.split(job["spec"]["entrypoint"]))
    head = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    (worker,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    for pod in (head, worker["template"]["spec"]):
        assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
        assert {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]} == {"/data", "/results"}
