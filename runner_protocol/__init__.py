"""The wire contract between agent and server: what they say to each other and which moves a job may make.

Pure pydantic and enums. Imports neither side, does no I/O. Readers ignore members they do not know, so that an older
agent and a newer server (or the reverse) may meet.
"""

PROTOCOL_VERSION = 1
"""Sent by both sides. Within one version only additions happen, so that old and new may meet."""

__all__ = ["PROTOCOL_VERSION"]
