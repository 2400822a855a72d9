"""Deployment: from a measured model to a self-contained archive, and a demonstration."""


def deployed_code():
    """Return the modules of the library that a deployed model needs."""
    demo = "deployed/demo.py"
    return [ROOT / "scripts" / file for file in CODE[demo].files if file != demo]


def demo_model(wildcards):
    """Return the files of the model that a run's demo shows."""
    folder = f"{wildcards.run}/{settings_of(wildcards)['demo']['model']}"
    return model_folder(folder, "xml", "bin", "config")


def demo_files(wildcards):
    """Return the files that a run's demo shows, or the subset whose images it shows."""
    source = settings_of(wildcards)["demo"]["source"]
    if source is None:
        return {"subset": evaluated_subset(wildcards)}
    if demo_file_names.is_camera(source):
        return {}
    try:
        files = demo_file_names.files_of(source)
    except InputError as error:
        sys.exit(f"demo.source: {error}")  # as in check_paths
    for pattern in filter(None, map(pattern_in, files)):
        sys.exit(str(InputError(f"demo.source: {pattern}")))
    replaced = os.path.realpath(f"{wildcards.run}/demo")
    for file in files:
        if Path(os.path.realpath(file)).is_relative_to(replaced):
            sys.exit(
                f"demo.source: found {file}, but the demo replaces the folder {wildcards.run}/demo; "
                "copy it elsewhere, and give the path of the copy"
            )
    return {"files": local(files)}


def carded_subsets(wildcards):
    """Return the prepared subsets that a model card describes."""
    names = ["train", "val", settings_of(wildcards)["evaluation"]["subset"]]
    return [f"{wildcards.run}/dataset/{name}.json" for name in dict.fromkeys(names)]


rule deploy:
    input:
        **model_folder("{run}/{model}"),
        modules=local(deployed_code()),
        performance="{run}/{model}/performance.json",
        predictions="{run}/{model}/predictions.json",
        subsets=carded_subsets,
        demo=local(ROOT / "scripts/deployed/demo.py"),
        readme=local(ROOT / "scripts/deployed/README.md"),
        lock=local(ROOT / "requirements.txt"),
        license=local(ROOT / "LICENSE"),
        notice=local(ROOT / "scripts/deployed/NOTICE"),
    output:
        "{run}/deploy/{model}.zip",
    log:
        "{run}/logs/deploy_{model}.log",
    wildcard_constraints:
        model="|".join(EXPORTED),
    localrule: True
    conda:
        "../envs/inference.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        **settings("pretrained", "weights", "evaluation"),
        **code_of("deploy", "inference"),
    message:
        "Packing the {wildcards.model} model of {wildcards.run}"
    script:
        "../scripts/deploy.py"


rule demo:
    input:
        unpack(demo_files),
        unpack(demo_model),
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
        **settings("inference"),
        **code_of("demonstrate", "inference"),
        source=lambda wildcards: settings_of(wildcards)["demo"]["source"],
        seconds=lambda wildcards: settings_of(wildcards)["demo"]["seconds"],
    message:
        "Running the demo of {wildcards.run}"
    script:
        "../scripts/demonstrate.py"
