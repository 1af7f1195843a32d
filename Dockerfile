# edgedx on a PC or a small board without a GPU: the device half only. Linted, never built: no docker was at hand.
#
#   edgedx wheelhouse --device x86-vnni --python 3.12 --glibc 2.36 --out wheelhouse/cpu   # arm64 for a Raspberry Pi
#   docker build -t edgedx:cpu .
#
# Nothing is fetched but the base image; see docs/offline-install.md for how it is run, and without a network.
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS build
ARG WHEELHOUSE=wheelhouse/cpu
COPY ${WHEELHOUSE} /wheels
RUN python3 -m venv --without-pip /opt/edgedx \
 && PIP_CONFIG_FILE=/dev/null /opt/edgedx/bin/python "$(ls /wheels/pip-*.whl)/pip" --isolated --no-cache-dir \
      --disable-pip-version-check install --quiet --no-index --no-deps --require-hashes --only-binary=:all: \
      --root-user-action=ignore --find-links /wheels -r /wheels/requirements.txt \
 && /opt/edgedx/bin/edgedx --version

FROM ${BASE}
LABEL org.opencontainers.image.title="edgedx" \
      org.opencontainers.image.description="Research software, not a medical device. Not for diagnosis."
COPY --from=build /opt/edgedx /opt/edgedx
# A fixed number, so that folders of the host can be given to it.
RUN groupadd --gid 10001 edgedx \
 && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin edgedx \
 && install -d -o edgedx -g edgedx /inbox /out /device
ENV PATH=/opt/edgedx/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp
USER 10001:10001
VOLUME ["/inbox", "/out", "/device"]
# Is what is installed below /device whole, trusted and active? Changes nothing.
HEALTHCHECK --interval=5m --timeout=60s --start-period=1m --retries=3 \
    CMD ["edgedx", "status", "--root", "/device"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["edgedx"]
CMD ["scan", "/inbox", "--bundle", "/device/current", "--out", "/out"]
