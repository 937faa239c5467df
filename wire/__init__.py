"""Every message two of our processes exchange: topics, envelopes, records, device API, profiles.

pydantic and the standard library only, no I/O. Messages are append-only within wire version 1:
a field may be added with a default, never removed or retyped (`tests/golden/wire` judges).
"""

__version__ = "0.1.0"
