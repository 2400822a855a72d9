"""Store: the finished trainings that are kept beside the results, to be restored; and what may go."""

from detmake.artifacts import remove_scratch
from detmake.store import Store
from detmake.training import lock


def keep_others_work(checkpoints, note):
    """Stop if another process trains, perhaps of a killed Snakemake. Store what is to be replaced.

    The store lacks a training that was copied here, or that was made while the store was off.
    """
    with lock.held(checkpoints):
        Store(**SETTINGS[""]["store"]).take(note)


# Before any job runs, since Snakemake removes the outputs and the logs of those that will.
onstart:
    if workflow.is_main_process:
        for job in workflow.dag.needrun_jobs():
            if checkpoints := job.resources.get("checkpoints"):
                note = job.resources.get("note", Path(job.log[0]).with_suffix(".json"))
                checked(keep_others_work, Path(checkpoints), Path(note))
            # Not in resources/, where another build may download.
            for folder in {Path(file).parent for file in job.output}:
                if folder.is_relative_to(RESULTS):
                    checked(remove_scratch, folder)


SNAPSHOTS = expand("{run}/{file}", run=RUNS.values(), file=["weights.pth", "nncf/weights.pth"])
NOTES = expand("{run}/logs/{file}", run=RUNS.values(), file=["train.json", "nncf.json"])


def snapshots(wildcards):
    """Return the snapshots of the runs, and those of a search's trials."""
    return [*SNAPSHOTS, *map(str, Path(RESULTS).glob("search/*/*/weights.pth"))]


# Without outputs, logs and environments, as in plan.smk.
rule store:
    localrule: True
    params:
        store=SETTINGS[""]["store"],
        snapshots=snapshots,
        notes=NOTES,
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


rule clean:
    localrule: True
    params:
        store=SETTINGS[""]["store"],
        snapshots=snapshots,
        notes=NOTES,
        checkpoints=expand("{run}/{folder}", run=RUNS.values(), folder=CHECKPOINTS),
        checkpoint_folders=CHECKPOINTS,
        caches=[str(DIGESTS), ".snakemake/code_digests", ".snakemake/log"],
        results=RESULTS,
        runs=list(RUNS.values()),
        used=lambda wildcards: [
            str(named.path) for run in SETTINGS.values() for named in checked(named_paths, run)
        ],
        named=SETTINGS[""]["clean"],
    message:
        "Listing what may be deleted"
    script:
        "../scripts/clean.py"
