"""From annotated images to an int8 OpenVINO detector: the entry point of the build."""

from snakemake.utils import min_version

min_version("9.18")  # contents, not times, decide whether a small input file changed

if not workflow.overwrite_configfiles:

    # A configuration file of one's own is complete in itself; nothing of this one is merged into it.
    configfile: workflow.source_path("config/config.yaml")


include: "rules/common.smk"


rule all:
    default_target: True
    input:
        expand(
            f"{RESULTS}/{{file}}",
            file=[
                "weights.pth",
                "performance.json",
                "openvino/openvino.xml",
                "openvino/openvino.bin",
                "openvino/performance.json",
                "pot/openvino.xml",
                "pot/openvino.bin",
                "pot/performance.json",
            ],
        ),
    message:
        "Completing {RESULTS}: snapshot, IR, int8 IR and what they are worth"


include: "rules/templates.smk"
include: "rules/plan.smk"
include: "rules/data.smk"
include: "rules/weights.smk"
include: "rules/train.smk"
include: "rules/export.smk"
include: "rules/pot.smk"
include: "rules/nncf.smk"
include: "rules/evaluate.smk"
include: "rules/deploy.smk"
include: "rules/compare.smk"
include: "rules/benchmark.smk"
