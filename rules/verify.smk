"""Verify: whether figures speak of the models beside them."""


# Without outputs, logs and environments, as in plan.smk.
rule verify:
    localrule: True
    params:
        folder=SETTINGS[""]["verify"] or RESULTS,
        own=RESULTS,
        options=lambda wildcards: options_of_call(),
    message:
        "Checking which models the figures in {params.folder} speak of; nothing is built"
    script:
        "../scripts/verify.py"
