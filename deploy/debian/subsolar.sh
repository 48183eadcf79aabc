#!/bin/sh
# The libraries below /opt/subsolar were built for this Python; -s keeps a user's own packages out.
PYTHONPATH=/opt/subsolar${PYTHONPATH:+:$PYTHONPATH} exec "${SUBSOLAR_PYTHON:-python@MINOR@}" -s -m runtime "$@"
