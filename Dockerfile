# An image for CPUs. Building it needs the network; running it does not (docs/offline.md).
FROM python:3.11-slim AS wheels
# Where PyTorch publishes its CPU builds, which need no packages of CUDA.
ARG PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
COPY requirements.txt .
RUN pip wheel --no-cache-dir -w /wheels -c requirements.txt torch \
    && pip wheel --no-cache-dir -w /wheels --no-deps -r requirements.txt

FROM python:3.11-slim
# Another user (`docker run --user`) has no name and no home folder. Snakemake needs both.
ENV HOME=/tmp USER=detmake
WORKDIR /detmake
COPY requirements.txt .
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels -c requirements.txt torch \
    && pip install --no-cache-dir --no-index --find-links /wheels --no-deps -r requirements.txt
COPY . .
ENTRYPOINT ["snakemake"]
