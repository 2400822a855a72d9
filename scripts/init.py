"""Write what a folder of one's own needs, never over what is there."""

import json
from pathlib import Path

from snakemake.common import SNAKEFILE_CHOICES

from detmake.artifacts import write_text

SNAKEFILE = """\
# Snakemake reads profiles/default/config.yaml only where it finds a file of this name. While that
# profile names another file by `snakefile:`, nothing that is written here has an effect. For rules
# of your own beside detmake's, delete the line `snakefile:` in the profile, and write here:
#
# configfile: "config/config.yaml"
#
# module detmake:
#     snakefile: {snakefile}
#     config: config
#
# use rule * from detmake as detmake_*
"""

PROFILE = """\
# Options of `snakemake` in this folder, by the names that they have on the command line.
snakefile: {snakefile}

"""

folder, workflow = Path(snakemake.params.folder), Path(snakemake.params.workflow)
snakefile = json.dumps(str(workflow / "Snakefile"), ensure_ascii=False)
config = (workflow / "config/config.yaml").read_text(encoding="utf-8")
profile = (workflow / "profiles/default/config.yaml").read_text(encoding="utf-8")
own = SNAKEFILE.format(snakefile=snakefile)
files = {"config/config.yaml": config, "profiles/default/config.yaml": profile}
found = [choice for choice in SNAKEFILE_CHOICES if (folder / choice).exists()]
if any((folder / choice).read_text(encoding="utf-8") != own for choice in found):
    # The folder's own workflow, which may import this one, stays what bare `snakemake` runs.
    print(f"Kept {found[0]}, which `snakemake` runs")
else:
    files["profiles/default/config.yaml"] = PROFILE.format(snakefile=snakefile) + profile
    files["Snakefile"] = own
for name, text in files.items():
    if (folder / name).exists():
        print(f"Kept {name}")
    else:
        write_text(folder / name, text)
        print(f"Wrote {name}")
print("Next: set `data` in config/config.yaml, then run `snakemake`")
