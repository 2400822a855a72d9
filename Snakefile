"""From annotated images to an int8 OpenVINO detector: the entry point of the build."""

import os
import re

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.18")  # contents, not times, decide whether a small input file changed

if not isinstance(workflow.current_basedir, os.PathLike):
    # Snakemake fetches single files from elsewhere, and the library is not among them.
    raise WorkflowError(
        f"detmake was loaded from {workflow.current_basedir.get_path_or_uri(secret_free=True)}, but "
        "runs from a local clone only. Clone the repository and name the Snakefile in the clone."
    )

# Snakemake replaces such a part of a path: `<results>` is one of its path variables.
PATH_VARIABLE = r"<[a-z][a-z0-9_]*>"

if found := re.search(rf"[{{}}]|{PATH_VARIABLE}", str(workflow.current_basedir)):
    # It reads the paths of environments and templates as patterns.
    kind = (
        "angle brackets for path variables" if found[0].startswith("<") else "braces for wildcards"
    )
    raise WorkflowError(
        f"detmake is in {workflow.current_basedir}. Snakemake would take the {kind}. Move the clone to "
        f"a folder without {kind.partition(' for ')[0]}."
    )

# The experiment of the working directory, or else the workflow's own. A file given by --configfile is
# complete in itself: neither is merged into it.
experiment = "config/config.yaml"
if not os.path.exists(experiment):
    experiment = workflow.source_path(experiment)


include: "rules/common.smk"
include: "rules/inputs.smk"


# First of all rules, hence the default target.
rule all:
    input:
        expand(
            f"{RESULTS}/{{file}}",
            file=[
                "weights.pth",
                "performance.json",
                *model_folder("openvino", "xml", "bin").values(),
                "openvino/performance.json",
                *model_folder("pot", "xml", "bin").values(),
                "pot/performance.json",
            ],
        ),
    message:
        f"Completing {RESULTS}: snapshot, IR, int8 model and their performance"


include: "rules/provenance.smk"
include: "rules/init.smk"
include: "rules/templates.smk"
include: "rules/plan.smk"
include: "rules/store.smk"
include: "rules/data.smk"
include: "rules/inspect.smk"
include: "rules/suggest.smk"
include: "rules/weights.smk"
include: "rules/batch.smk"
include: "rules/train.smk"
include: "rules/export.smk"
include: "rules/pot.smk"
include: "rules/nncf.smk"
include: "rules/evaluate.smk"
include: "rules/verify.smk"
include: "rules/deploy.smk"
include: "rules/compare.smk"
include: "rules/benchmark.smk"
include: "rules/report.smk"
include: "rules/search.smk"
