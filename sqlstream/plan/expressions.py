"""Moved to sqlstream.expressions."""

from sqlstream.expressions import *  # noqa: F403
