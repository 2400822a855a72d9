"""Deployment: from a measured model to an archive that runs it, and a demonstration."""


localrules:
    deploy,


rule deploy:
    input:
        local(deployed_code()),
        xml="{run}/{model}/openvino.xml",
        bin="{run}/{model}/openvino.bin",
        config="{run}/{model}/config.json",
        label_schema="{run}/{model}/label_schema.json",
        confidence_threshold="{run}/{model}/confidence_threshold",
        performance="{run}/{model}/performance.json",
        demo=local(ROOT / "scripts/deployed/demo.py"),
        readme=local(ROOT / "scripts/deployed/README.md"),
        lock=local(ROOT / "requirements.txt"),
        license=local(ROOT / "LICENSE"),
    output:
        "{run}/deploy/{model}.zip",
    log:
        "{run}/logs/deploy_{model}.log",
    wildcard_constraints:
        model="|".join(EXPORTED),
    conda:
        "../envs/inference.yaml"
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        **code_of("deploy"),
    message:
        "Packing the {wildcards.model} model of {wildcards.run}"
    script:
        "../scripts/deploy.py"


rule demo:
    input:
        unpack(demo_files),
        xml=demo_model("openvino.xml"),
        bin=demo_model("openvino.bin"),
        config=demo_model("config.json"),
    output:
        directory("{run}/demo"),
    log:
        "{run}/logs/demo.log",
    conda:
        "../envs/inference.yaml"
    threads: 16
    resources:
        mem_mb=4000,
        runtime=60,
        slurm_partition=partition(),
    params:
        **code_of("demonstrate"),
        source=lambda wildcards: settings_of(wildcards)["demo"]["source"],
        seconds=lambda wildcards: settings_of(wildcards)["demo"]["seconds"],
    message:
        "Showing what the detector of {wildcards.run} finds"
    script:
        "../scripts/demonstrate.py"
