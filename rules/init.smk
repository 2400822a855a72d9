"""Init: a folder of one's own, outside of the clone, in which bare `snakemake` runs the build."""

from snakemake.common import SNAKEFILE_CHOICES


def own_folder(wildcards):
    """Return the working directory, which must not be the clone's."""
    if Path().resolve() == ROOT.resolve():
        raise WorkflowError(
            "This is the folder of detmake itself, which already has these files. For a folder of "
            "your own: make one, change to it and call `snakemake -s "
            f"{ROOT.resolve() / 'Snakefile'} init` there."
        )
    return "."


# Without a log file, since it prints to the terminal; without an environment, since it only copies.
rule init:
    localrule: True
    params:
        folder=own_folder,
        workflow=str(ROOT.resolve()),
        snakefiles=SNAKEFILE_CHOICES,
    message:
        "Writing a configuration, a profile and a Snakefile for this folder"
    script:
        "../scripts/init.py"
