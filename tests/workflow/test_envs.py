"""The conda environments of the steps: pinned like the lock, complete, no larger than needed."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from modulefinder import ModuleFinder
from pathlib import Path

import pin
import pytest
import yaml
from conftest import CONFIG, ROOT, WORKER
from packaging.utils import canonicalize_name

NAMES = sorted(pin.ENVIRONMENTS)
WITH_TORCH = [name for name in NAMES if "torch" in pin.ENVIRONMENTS[name][1]]
SCRIPTS = {
    script: name
    for file in (ROOT / "rules").glob("*.smk")
    for name, script in re.findall(
        r'conda:\s+"\.\./envs/(\w+)\.yaml"(?:(?!\nrule ).)*?\.\./scripts/(\w+\.py)"',
        file.read_text(encoding="utf-8"),
        re.DOTALL,
    )
}
# Only a quantized snapshot needs NNCF, and these steps do not load one.
OPTIONAL = {"training": {"nncf"}, "reporting": {"nncf"}}


def pip_section(name: str) -> list[str]:
    definition = yaml.safe_load((ROOT / f"envs/{name}.yaml").read_text(encoding="utf-8"))
    assert definition["channels"] == ["conda-forge", "nodefaults"]
    python, pip, section = definition["dependencies"]
    assert (python, pip) == ("python=3.11", "pip")
    return section["pip"]


def imports_of(script: Path) -> set[str]:
    """The third-party modules that a script and the library modules it uses import anywhere."""
    finder = ModuleFinder(path=[str(ROOT / "scripts")])
    finder.run_script(str(script))
    modules = {name.split(".")[0] for name in finder.badmodules}
    return modules - sys.stdlib_module_names - {"detmake"}


def providers_of(module: str) -> set[str]:
    """The packages that may provide a module."""
    return {canonicalize_name(name) for name in packages_distributions()[module]}


# The files


def test_every_script_has_an_environment():
    scripts = {path.name for path in (ROOT / "scripts").glob("*.py")}
    # These run in Snakemake's own environment.
    own = {f"{name}.py" for name in ("plan", "init", "store", "clear_store", "clean", "verify")}
    assert SCRIPTS.keys() == scripts - own
    assert {path.stem for path in (ROOT / "envs").glob("*.yaml")} == set(SCRIPTS.values())
    assert set(NAMES) == set(SCRIPTS.values())


def test_a_rule_counts_the_versions_of_its_own_environment():
    counted = {
        f"{script}.py": name
        for file in (ROOT / "rules").glob("*.smk")
        for script, name in re.findall(r'\*\*code_of\("(\w+)", "(\w+)"\)', file.read_text())
    }
    # These have no outputs.
    uncounted = {name: SCRIPTS[name] for name in ("templates.py", "suggest.py", "report.py")}
    assert counted | uncounted == SCRIPTS


@pytest.mark.parametrize("name", NAMES)
def test_an_environment_has_the_pins_of_the_lock(name):
    pins = pip_section(name)
    assert set(pins) <= set((ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines())
    assert (ROOT / f"envs/{name}.yaml").read_text(encoding="utf-8") == pin.environment(name)


def test_data_and_inference_have_no_torch():
    """This compares the pins. A slow test below compares what is installed with them."""
    with_torch = {
        name for name in NAMES if any(pin.startswith("torch") for pin in pip_section(name))
    }
    assert with_torch == set(WITH_TORCH) == set(NAMES) - {"data", "inference"}


@pytest.mark.parametrize("name", NAMES)
def test_an_environment_has_exactly_what_its_scripts_import(name):
    scripts = [ROOT / "scripts" / script for script, env in SCRIPTS.items() if env == name]
    imported = set().union(*map(imports_of, scripts))
    modules = imported - OPTIONAL.get(name, set())
    if "pandas" in modules:
        modules.add("tabulate")  # DataFrame.to_markdown
    packages = set(pin.ENVIRONMENTS[name][1])
    assert {module for module in modules if not providers_of(module) & packages} == set()
    assert packages <= set().union(*map(providers_of, modules))


def test_the_workflow_needs_only_the_packages_that_the_page_about_conda_names(tmp_path):
    """If conda makes the environments of the steps, only these are installed by hand."""
    command = r"`pip install -c requirements.txt (snakemake .*?)`"
    packages = re.search(command, (ROOT / "docs/conda.md").read_text(encoding="utf-8"))[1].split()
    installed = {canonicalize_name(line.split("==")[0]) for line in pin.pins(packages)}
    imports = re.findall(
        r"^(?:import|from) .*", (ROOT / "rules/common.smk").read_text(), re.MULTILINE
    )
    (tmp_path / "imports.py").write_text("\n".join(imports))
    for module in imports_of(tmp_path / "imports.py"):
        assert providers_of(module) & installed, module


# Virtual environments of the pip sections alone

# Replaces every script of a project: it records its job and writes empty outputs.
RECORDER = """
import json
from pathlib import Path

lists = {
    name: {
        "values": list(getattr(snakemake, name)),
        "names": dict(getattr(snakemake, name).items()),
    }
    for name in ("input", "output", "params", "wildcards", "resources", "log")
}
job = {"script": Path(__file__).name, "threads": snakemake.threads, "lists": lists}
Path("jobs", snakemake.log[0].replace("/", "_")).with_suffix(".json").write_text(json.dumps(job))
for path in map(Path, snakemake.output):
    path.mkdir() if snakemake.rule == "demo" else path.touch()
"""
TARGETS = [
    "resources/cells/test/_annotations.coco.json",
    "results/performance.json",
    "results/nncf/weights.pth",
    "results/deploy/pot.zip",
    "results/demo",
    "results/comparison.csv",
    "results/report.html",
]
#: By environment: the jobs to run in it, in this order, by the names of their logs.
STEPS = {
    "data": ["cells_test", "dataset_train"],
    "training": ["train", "batch", "evaluate", "export"],
    "inference": ["pot", "evaluate_pot", "demo", "deploy_pot"],
    "nncf": ["nncf"],
    "suggestion": [],  # its only step is no part of a build
    "reporting": ["comparison", "speed", "report"],
}


@pytest.fixture(scope="module")
def jobs(template_project, tmp_path_factory):
    """What Snakemake passes to the scripts of a tiny build: JSON files by the names of the logs."""
    project = template_project.copy(tmp_path_factory.mktemp("jobs") / "project")
    learning = {"num_iters": 1, "learning_rate_warmup_iters": 0}
    project.configure(
        learning_parameters=CONFIG["learning_parameters"] | learning,
        nncf_optimization={"num_iters": 1, "stat_subset_size": 4, "on_degradation": "warn"},
    )
    for script in (project.folder / "scripts").glob("*.py"):
        script.write_text(RECORDER)
    (project.folder / "jobs").mkdir()
    project.snakemake(*TARGETS)
    return {path.stem.split("_logs_")[1]: path for path in (project.folder / "jobs").iterdir()}


def run(python: Path, *arguments, folder: Path) -> str:
    """Run the Python of an environment, isolated from this one; return what it prints."""
    environment = {"PATH": f"{python.parent}:{os.defpath}", "HOME": str(folder)}
    if WORKER:
        environment["OMP_NUM_THREADS"] = "1"
    process = subprocess.run(
        [python, "-I", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def environments(tmp_path_factory):
    """By name: the Python of a virtual environment in which a pip section is installed."""
    folder = tmp_path_factory.mktemp("environments")
    # Those with torch start as a hard-linked copy of the smallest one, to install torch only once.
    # Its steps ran before, so that its bytecode is copied, too.
    common, *others = sorted(WITH_TORCH, key=lambda name: len(pip_section(name)))

    def python(name: str) -> Path:
        place = folder / name
        if not place.exists():
            if name in others:
                python(common)
                shutil.copytree(folder / common, place, symlinks=True, copy_function=os.link)
            else:
                subprocess.run([sys.executable, "-m", "venv", place], check=True)
            requirements = folder / f"{name}.txt"
            requirements.write_text("\n".join(pip_section(name)))
            install = [place / "bin/python", "-m", "pip", "install", "-q", "--no-compile"]
            subprocess.run([*install, "--no-deps", "-r", requirements], check=True)
        return place / "bin/python"

    return python


@pytest.mark.parametrize("name", sorted(NAMES, key=lambda name: len(pip_section(name))))
@pytest.mark.slow
def test_the_steps_run_with_the_pip_section_alone(name, environments, jobs, built):
    python = environments(name)
    built.measure_briefly()
    assert packages(python) == {canonicalize_name(pin.split("==")[0]) for pin in pip_section(name)}
    for job in STEPS[name]:
        log = Path(json.loads(jobs[job].read_text())["lists"]["log"]["values"][0])
        (built.folder / log).parent.mkdir(parents=True, exist_ok=True)
        run(python, Path(__file__).with_name("run_step.py"), jobs[job], folder=built.folder)


def packages(python: Path) -> set[str]:
    """The packages of an environment, except those that a new one has."""
    code = "from importlib.metadata import distributions as d; print(*(x.name for x in d()))"
    names = run(python, "-c", code, folder=python.parent).split()
    return {canonicalize_name(name) for name in names} - {"pip", "setuptools"}


@pytest.mark.slow
def test_the_post_deploy_script_installs_only_what_torch_needs(environments):
    """With the CPU build of torch, this is at most a newer setuptools."""
    scripts = {(ROOT / f"envs/{name}.post-deploy.sh").read_text() for name in WITH_TORCH}
    assert {path.name.split(".")[0] for path in (ROOT / "envs").glob("*.sh")} == set(WITH_TORCH)
    (script,) = scripts
    python = environments(WITH_TORCH[0])
    before = packages(python)
    environment = os.environ | {"PATH": f"{python.parent}:{os.environ['PATH']}", "PIP_NO_DEPS": "1"}
    subprocess.run(["sh", "-c", script], env=environment, check=True)
    after = packages(python)
    assert before <= after
    needed = run(
        python,
        "-c",
        "from importlib.metadata import distribution, requires\n"
        "from packaging.requirements import Requirement\n"
        "for line in map(Requirement, requires('torch')):\n"
        "    if not line.marker or line.marker.evaluate({'extra': ''}):\n"
        "        assert line.specifier.contains(distribution(line.name).version), line\n"
        "        print(line.name)\n",
        folder=python.parent,
    )
    assert after - before <= {canonicalize_name(name) for name in needed.split()}
