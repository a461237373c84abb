# docker build --build-arg CHIPS=cpu --tag scaling:cpu .     CHIPS: cpu, cuda (NVIDIA, CUDA 13) or tpu
FROM python:3.11-slim
ARG CHIPS=cpu
WORKDIR /opt/scaling

COPY requirements.lock ./
RUN pip install --no-cache-dir --no-deps --require-hashes --requirement requirements.lock

# What drives the chips, of the same version as the jax that is locked.
RUN jax=$(python -c "import jax; print(jax.__version__)") \
 && case "$CHIPS" in \
      cpu) ;; \
      cuda) pip install --no-cache-dir "jax[cuda13]==$jax" ;; \
      tpu) pip install --no-cache-dir "jax[tpu]==$jax" ;; \
      *) echo "CHIPS=$CHIPS: wanted cpu, cuda or tpu" >&2; exit 2 ;; \
    esac

COPY . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation .

# Where Kubernetes on Google's cloud puts the driver of NVIDIA's GPUs.
ENV LD_LIBRARY_PATH=/usr/local/nvidia/lib64 PYTHONUNBUFFERED=1
CMD ["scaling", "--help"]
