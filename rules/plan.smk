"""Plan: what the build would do now, in words and as a picture."""


# Without outputs, since it is never up to date; without a log file, since it prints to the terminal;
# without an environment, since it runs Snakemake itself.
rule plan:
    localrule: True
    params:
        folder=RESULTS,
        targets=SETTINGS[""]["plan"],
        snakefile=workflow.main_snakefile,
        # The settings of this call of Snakemake, since they decide what is stale.
        config_settings=workflow.config_settings,
        storage_settings=workflow.storage_settings,
        storage_provider_settings=workflow.storage_provider_settings,
        deployment_settings=workflow.deployment_settings,
        dag_settings=lambda wildcards: workflow.dag_settings,
    message:
        "Planning; nothing is built"
    script:
        "../scripts/plan.py"
