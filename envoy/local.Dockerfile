# An image of a binary of this machine: tools/containers lays it out with the libraries that it loads, and nothing else.
FROM scratch
COPY --chown=65532:65532 . /
USER 65532:65532
