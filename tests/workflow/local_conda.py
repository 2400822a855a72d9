"""A stand-in for `conda`: rattler does what the calls that Snakemake makes ask for.

Channels are in the folder DETMAKE_CHANNELS. The base environment is the folder above `bin/conda`.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path

import yaml
from rattler import Channel, ChannelConfig, install, solve
from rattler.platform import Subdir


async def create(file: Path, prefix: Path) -> None:
    """Make an environment: rattler installs its conda packages, its own pip the pip section."""
    definition = yaml.safe_load(file.read_text(encoding="utf-8"))
    packages = [entry for entry in definition["dependencies"] if isinstance(entry, str)]
    (requirements,) = [
        entry["pip"] for entry in definition["dependencies"] if not isinstance(entry, str)
    ]
    config = ChannelConfig(f"{Path(os.environ['DETMAKE_CHANNELS']).as_uri()}/")
    channels = [Channel(name, config) for name in definition["channels"] if name != "nodefaults"]
    records = await solve(channels, packages, platforms=[Subdir.current(), Subdir("noarch")])
    await install(records, prefix, show_progress=False)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
        listed.write("\n".join(requirements))
        listed.flush()
        pip = [prefix / "bin/python", "-m", "pip", "install", "-U", "-r", listed.name]
        subprocess.run(pip, check=True)


def main(arguments: list[str]) -> None:
    match arguments:
        case ["--version"]:
            print("conda 24.7.1")  # the oldest version that Snakemake accepts
        case ["info", "--json"]:
            base = str(Path(sys.argv[0]).parents[1])
            print(json.dumps({"conda_prefix": base, "platform": str(Subdir.current())}))
        case ["config", "--get", "channel_priority", "--json"]:
            print(json.dumps({"get": {"channel_priority": "strict"}}))
        case ["env", "create", *options]:
            parser = ArgumentParser()
            parser.add_argument("--quiet", action="store_true")
            parser.add_argument("--no-default-packages", action="store_true")
            parser.add_argument("--file", type=Path)
            parser.add_argument("--prefix", type=Path)
            given = parser.parse_args(options)
            asyncio.run(create(given.file, given.prefix))
        case ["clean", "-y", "--tarballs"]:
            pass  # rattler keeps no tarballs
        case _:
            sys.exit(f"conda {' '.join(arguments)}: this stand-in does not know the call")


if __name__ == "__main__":
    main(sys.argv[1:])
