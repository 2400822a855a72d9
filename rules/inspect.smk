"""Inspect: what one looks up in a dataset before training on it."""


def described_subsets(wildcards):
    """Return the prepared subsets of a run, without a test subset that only repeats val."""
    names = ["train", "val"] if lacks_test(wildcards) else ["train", "val", "test"]
    return [f"{wildcards.run}/dataset/{name}.json" for name in names]


rule statistics:
    input:
        described_subsets,
    output:
        json="{run}/dataset/statistics.json",
        md="{run}/dataset/statistics.md",
    log:
        "{run}/logs/statistics.log",
    benchmark:
        "{run}/benchmarks/statistics.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
        slurm_partition=partition(),
    params:
        **settings("input_size"),
        **code_of("inspect_dataset", "data"),
    message:
        "Describing the dataset of {wildcards.run}"
    script:
        "../scripts/inspect_dataset.py"


# Without outputs, as in plan.smk: it prints what is there.
rule inspect:
    input:
        f"{RESULTS}/dataset/statistics.md",
    localrule: True
    message:
        "{input} describes the dataset:"
    shell:
        "cat {input:q}"
