"""Store: the finished trainings that are kept beside the results, to be restored."""


# Without outputs, logs and environments, as in plan.smk.
rule store:
    localrule: True
    params:
        store=SETTINGS[""]["store"],
        snapshots=expand(
            "{run}/{file}", run=RUNS.values(), file=["weights.pth", "nncf/weights.pth"]
        ),
    message:
        "Listing the store of finished trainings"
    script:
        "../scripts/store.py"


rule clear_store:
    localrule: True
    params:
        store=SETTINGS[""]["store"],
    message:
        "Emptying the store of finished trainings"
    script:
        "../scripts/clear_store.py"
