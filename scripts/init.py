"""Write what a folder of one's own needs, never over what is there."""

from pathlib import Path

from detmake.build import own_folder

params = snakemake.params
for line in own_folder.write(Path(params.folder), Path(params.workflow), params.snakefiles):
    print(line)
print("Next: set `data` in config/config.yaml, then run `snakemake`")
