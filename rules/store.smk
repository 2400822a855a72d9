"""Store: the finished trainings that are kept beside the results, to be restored."""

from detmake.store import Store
from detmake.training import lock


def refuse_second_trainings():
    """Stop if a job is to train where another process trains, perhaps of a killed Snakemake."""
    for job in workflow.dag.needrun_jobs():
        if checkpoints := job.resources.get("checkpoints"):
            with lock.held(Path(checkpoints)):
                pass


def store_results():
    """Store trainings that the store lacks: their results were copied here, or it was off."""
    for note in expand("{run}/logs/{step}.json", run=RUNS.values(), step=["train", "nncf"]):
        Store(**SETTINGS[""]["store"]).take(Path(note))


# Before any job runs, since Snakemake removes the outputs and the logs of those that will.
onstart:
    if workflow.is_main_process:
        checked(refuse_second_trainings)
        store_results()


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
