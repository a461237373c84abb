# docker build --build-arg CHIPS=cpu --tag scaling:cpu .     CHIPS: cpu, cuda (NVIDIA, CUDA 13) or tpu
#
# All packages are those of the lock files, by their hashes. The image below them is pinned where it is built, since its
# digest changes with each of Debian's security updates:
#   --build-arg BASE=python:3.11-slim@$(docker buildx imagetools inspect python:3.11-slim --format '{{.Manifest.Digest}}')
ARG BASE=python:3.11-slim
FROM ${BASE}
ARG CHIPS=cpu
WORKDIR /opt/scaling

COPY requirements*.lock ./
RUN case "$CHIPS" in \
      cpu) more= ;; \
      cuda | tpu) more="--requirement requirements-$CHIPS.lock" ;;  \
      *) echo "CHIPS=$CHIPS: wanted cpu, cuda or tpu" >&2; exit 2 ;; \
    esac \
 && pip install --no-cache-dir --no-deps --require-hashes --requirement requirements.lock $more

COPY . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation .

# launch/gke.py knows this number. Where a platform keeps its devices for root, the launcher says so.
RUN useradd --uid 1000 --create-home scaling
USER 1000
WORKDIR /home/scaling

# Where Kubernetes on Google's cloud puts the driver of NVIDIA's GPUs.
ENV LD_LIBRARY_PATH=/usr/local/nvidia/lib64 PYTHONUNBUFFERED=1
CMD ["scaling", "--help"]
