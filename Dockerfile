# A container with weightscape, on the CPU. It is not built in CI: tell us when it does not work for you.
#
#   docker build -t weightscape .
#   docker run --rm -v "$PWD:/work" weightscape run digits-transfer
#
# For a GPU, build with --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 (the CUDA of your driver) and run
# with --gpus all. To read data sets of this machine, add -v /my/data:/data -e WEIGHTSCAPE_DATA=/data. Results belong to
# root unless you add --user "$(id -u):$(id -g)".
FROM python:3.11-slim

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" "torch==2.13.0"

COPY pyproject.toml constraints.txt README.md LICENSE /source/
COPY src /source/src
RUN sed "/^torch==/d" /source/constraints.txt > /source/others.txt \
    && pip install --no-cache-dir --constraint /source/others.txt /source

# Users without a home folder need one for caches and settings.
ENV HOME=/tmp MPLBACKEND=agg
WORKDIR /work
ENTRYPOINT ["weightscape"]
CMD ["--help"]
