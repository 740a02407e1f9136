# The image of our own processes: `docker run auditlog migrate`, `docker run auditlog consume`, ...
FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/auditlog
WORKDIR /src
# The locked dependencies first: they change less often than the code.
COPY requirements/server.txt requirements/server.txt
RUN /opt/auditlog/bin/pip install --require-hashes -r requirements/server.txt
COPY pyproject.toml README.md ./
COPY schemas schemas
COPY producers producers
COPY storage storage
COPY consumer consumer
COPY exports exports
COPY api api
COPY local local
COPY cli cli
RUN /opt/auditlog/bin/pip install --no-build-isolation --no-deps .

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin auditlog \
    && install --directory --owner auditlog /var/lib/auditlog/exports
COPY --from=build /opt/auditlog /opt/auditlog
ENV PATH=/opt/auditlog/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
WORKDIR /tmp
ENTRYPOINT ["auditlog"]
