"""Pack a model folder and the code that runs it into an archive."""

import json
from pathlib import Path

from detmake import logs
from detmake.build import deployment
from detmake.data import subsets
from detmake.evaluation import predictions
from detmake.report import model_card

source, params = snakemake.input, snakemake.params
with logs.job(snakemake.log[0]) as log:
    archive = Path(snakemake.output[0])
    weights = model_card.origin(params.pretrained, params.weights)
    card = model_card.text(
        *(
            json.loads(Path(file).read_text(encoding="utf-8"))
            for file in (source.config, source.performance)
        ),
        {Path(file).stem: subsets.read(Path(file)) for file in source.subsets},
        params.evaluation["subset"],
        predictions.read(Path(source.predictions)),
        weights,
    )
    deployment.write_archive(
        archive,
        Path(source.xml).parent,
        demo=Path(source.demo),
        modules=map(Path, source.modules),
        readme=Path(source.readme),
        lock=Path(source.lock),
        license=Path(source.license),
        notice=Path(source.notice),
        card=card,
        weights=weights,
    )
    log.info("%s: %.1f MB", archive, archive.stat().st_size / 1e6)
