"""Plan: what the build would do now, in words and as a picture."""


localrules:
    plan,


# Without outputs, since it is never up to date; without a log file, since what it prints is for the
# terminal; without an environment, since it asks Snakemake itself.
rule plan:
    params:
        folder=RESULTS,
        targets=SETTINGS[""]["plan"],
        snakefile=workflow.main_snakefile,
        # The plan is of the build as it was called: with its configuration, and all else that decides
        # what is stale.
        config_settings=workflow.config_settings,
        storage_settings=workflow.storage_settings,
        storage_provider_settings=workflow.storage_provider_settings,
        deployment_settings=workflow.deployment_settings,
        dag_settings=lambda wildcards: workflow.dag_settings,
    message:
        "Planning; nothing is built"
    script:
        "../scripts/plan.py"
