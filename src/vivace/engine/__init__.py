"""The engine: continuous batching over blocks of keys and values, prefixes shared, weights swapped in flight."""

from vivace.engine.client import NativeClient, load_client
from vivace.engine.engine import Engine
from vivace.engine.scheduler import Generated, Ticket

__all__ = ["Engine", "Generated", "NativeClient", "Ticket", "load_client"]
