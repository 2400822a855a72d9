"""Write the plan of the build to plan.svg and plan.txt, and print it."""

import dataclasses
import logging
import os
import sys
from pathlib import Path

from snakemake.api import SnakemakeApi
from snakemake.settings.types import ExecutionSettings, OutputSettings, ResourceSettings

from detmake.artifacts import write_text
from detmake.build import plan
from detmake.report import plan_drawing


def name_of(file) -> str:
    """Return a file's name as users write it."""
    return file.storage_object.query if file.is_storage else str(file)


def reasons_of(job, dag) -> list[str]:
    """Return why a job is stale, other jobs aside, according to Snakemake."""
    reason, recorded = dag.reason(job), dag.workflow.persistence
    reasons = []
    if reason.forced:
        reasons.append("forced")
    made = any(file.is_storage or os.path.lexists(file) for file in job.output)
    if not made:
        reasons.append("not made yet")
    for files, what in (
        (reason.missing_output if made else (), "missing"),
        (reason.incomplete_output, "incomplete"),
        (reason.updated_input - reason.updated_input_run, "changed"),
    ):
        if files:
            reasons.append(f"{plan.abridged(sorted(map(name_of, files)))} {what}")
    if reason.input_changed:
        before = {file for output in job.output for file in recorded.input(output) or ()}
        reasons += plan.file_changes(before, map(name_of, job.input))
    if reason.code_changed:
        reasons.append(f"{(job.rule.script or job.rule.name).removeprefix('../')} changed")
    if change := reason.params_changed:
        reasons += plan.parameter_changes(
            change.only_old, change.only_new, dict(job.params.items())
        )
    if reason.software_stack_changed:
        reasons.append("its software environment changed")
    return reasons or ([] if reason.updated_input_run else [str(reason)])


def planned(dag) -> list[plan.Job]:
    """Return all jobs that write files, stale or not."""
    jobs = [job for job in dag.jobs if job.output]
    return [
        plan.Job(
            name=job.message or job.rule.name,
            files=[name_of(file) for file in job.output],
            needs=[jobs.index(other) for other in dag.dependencies[job]],
            reasons=reasons_of(job, dag) if dag.needrun(job) else [],
            follows=[name_of(file) for file in job.input if file in remade],
        )
        for job in jobs
        for remade in [dag.reason(job).updated_input_run]
    ]


with SnakemakeApi(OutputSettings(dryrun=True, log_level_override=logging.WARNING)) as api:
    try:
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=1),
            config_settings=snakemake.params.config_settings,
            storage_settings=snakemake.params.storage_settings,
            storage_provider_settings=snakemake.params.storage_provider_settings,
            deployment_settings=snakemake.params.deployment_settings,
            snakefile=Path(snakemake.params.snakefile),
        )
        targets = snakemake.params.targets
        targets = [targets] if isinstance(targets, str) else targets
        workflow.dag(
            dataclasses.replace(snakemake.params.dag_settings, targets=frozenset(targets))
        ).execute_workflow(executor="dryrun", execution_settings=ExecutionSettings(lock=False))
        # Snakemake's API gives reasons as sentences only; its internal graph has the parts.
        jobs = planned(workflow._workflow.dag)
    except Exception as error:
        api.print_exception(error)
        sys.exit(1)

folder = Path(snakemake.params.folder)
title = f"Plan of {', '.join(targets) or 'the default target'}"
text = plan.text(jobs, title)
write_text(folder / "plan.txt", text)
write_text(folder / "plan.svg", plan_drawing.svg(jobs, title))
print(text)
