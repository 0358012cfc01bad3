"""Receives requests from resyncd and processes each idempotency key once. See received.py."""
from trytond.pool import Pool

from . import received, routes  # noqa: F401


def register():
    Pool.register(received.Application, received.Received, module="resyncd", type_="model")
