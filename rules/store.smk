"""Store: the finished trainings that are kept beside the results, to be restored."""

from detmake.store import Store


# Before any job runs, since Snakemake removes the outputs of those that will. The store lacks
# trainings whose results were copied here, and those that ran while it was off.
onstart:
    if workflow.is_main_process:
        for note in expand("{run}/logs/{step}.json", run=RUNS.values(), step=["train", "nncf"]):
            Store(**SETTINGS[""]["store"]).take(Path(note))


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
