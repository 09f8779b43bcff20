# The image of Trivet. The tests run on this Python; another: --build-arg PYTHON=3.13-slim-bookworm
ARG PYTHON=3.11-slim-bookworm
# The build sees no git. Of a release: --build-arg VERSION=1.2.3
ARG VERSION=0.1.0.dev0

FROM python:${PYTHON} AS build
# With AWS-LC's arithmetic: --build-arg EXTRAS=server,postgres,fast
ARG EXTRAS=server,postgres
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
# All that comes from elsewhere comes here, by its hash; the steps below have no index to ask.
COPY requirements/run.txt ./
RUN pip download --only-binary=:all: --require-hashes --dest /wheels --requirement run.txt \
    && pip install --no-index --find-links /wheels --require-hashes --requirement run.txt
COPY pyproject.toml LICENSE ./
COPY migrations migrations
COPY service service
ARG VERSION
RUN SETUPTOOLS_SCM_PRETEND_VERSION="${VERSION}" python -m hatchling build --target wheel --directory /build/dist
# Without pip, and without what only the build needed. pip leaves compiled bytecode beside the code.
# The only versions at hand are those that were locked:
# hadolint ignore=DL3013
RUN python -m venv --without-pip /opt/trivet \
    && for wheel in /build/dist/*.whl; do \
    pip --python /opt/trivet/bin/python install --no-index --find-links /wheels "${wheel}[${EXTRAS}]"; \
    done

FROM python:${PYTHON}
ARG VERSION
LABEL org.opencontainers.image.title="Trivet" \
    org.opencontainers.image.description="A certificate authority for Kubernetes clusters" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}"
# The base image ships its standard library without bytecode, and nothing can be written at run time.
RUN python -m compileall -q -x '/(site-packages|test|lib2to3)/' "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && install --directory --owner=10001 --group=10001 --mode=0755 /var/lib/trivet
COPY --from=build /opt/trivet /opt/trivet
COPY deploy/compose/probe.py /opt/trivet/probe.py
ENV PATH="/opt/trivet/bin:$PATH" \
    HOME=/var/lib/trivet \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TRIVET_HOST=0.0.0.0
# A number, so that Kubernetes can see that it is not root. Any other user works as well.
USER 10001:10001
WORKDIR /var/lib/trivet
EXPOSE 8443
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-I", "/opt/trivet/probe.py"]
ENTRYPOINT ["trivet"]
CMD ["serve"]
